package main

import (
	"net/http"

	"purr/internal/store"
)

// httpCode returns the HTTP status code that answers a store's error.
func httpCode(k store.Kind) int {
	switch k {
	case store.Invalid:
		return http.StatusBadRequest
	case store.Forbidden:
		return http.StatusForbidden
	case store.Conflict:
		return http.StatusConflict
	case store.Exists:
		return http.StatusPreconditionFailed
	case store.TooLarge:
		return http.StatusRequestEntityTooLarge
	case store.NoSpace:
		return http.StatusInsufficientStorage
	case store.Mismatch:
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

// refusedStatus returns the exit status for an error of a store.
func refusedStatus(k store.Kind) int {
	switch k {
	case store.Mismatch:
		return 5
	case store.Unsynced:
		return 3
	}
	return 4
}
