package main

import "net/http"

// httpCode returns the HTTP status code that answers a store's error.
func httpCode(k Kind) int {
	switch k {
	case Invalid:
		return http.StatusBadRequest
	case Forbidden:
		return http.StatusForbidden
	case Conflict:
		return http.StatusConflict
	case Exists:
		return http.StatusPreconditionFailed
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case NoSpace:
		return http.StatusInsufficientStorage
	case Mismatch:
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

// refusedStatus returns the exit status for a file that a store has not taken.
func refusedStatus(k Kind) int {
	switch k {
	case Mismatch:
		return 5
	case Unsynced:
		return 3
	}
	return 4
}
