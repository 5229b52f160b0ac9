package main

import (
	"errors"
	"fmt"
	"syscall"

	"purr/internal/personality"
)

// An exitStatus is how the process ends. The numbers are a promise to scripts
// and stand in this file alone.
type exitStatus int

const (
	statusOK       exitStatus = 0 // every byte arrived
	statusFailed   exitStatus = 1 // an operation failed, or bytes were lost
	statusUsage    exitStatus = 2 // the command line is wrong: nothing was opened
	statusUnknown  exitStatus = 3 // -z: no answer; --push, --pull: cut, or not confirmed
	statusRefused  exitStatus = 4 // -z: filtered; --push, --pull: refused, skipped, changed
	statusMismatch exitStatus = 5 // another answer, size or digest than expected
	statusNotPurr  exitStatus = 6 // the peer speaks another protocol, or does not encrypt
	statusAuth     exitStatus = 7 // the peer holds another key, or a certificate is not accepted

	statusSignal exitStatus = 128 // plus the number of the signal that ended the run
)

// A statusError ends the run with a status other than statusFailed.
type statusError struct {
	status exitStatus
	error
}

func (e statusError) Unwrap() error { return e.error }

// A signalError is the end of the run by a signal.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string { return "ended by signal: " + e.Signal.String() }

// A commandError is the status of a command, which is passed on.
type commandError exitStatus

func (e commandError) Error() string { return fmt.Sprintf("the command has ended with status %d", e) }

// A localError is the failure of a name lookup, a bind, stdin or stdout: Ncat
// has another status for them than for the network.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

// status returns the exit status for err under the name of the run.
func (r *run) status(err error) exitStatus {
	status := statusOf(err)
	if _, passed := errors.AsType[commandError](err); passed {
		return status
	}
	_, local := errors.AsType[localError](err)
	return exitStatus(r.log.as.Status(personality.Ending{Status: int(status), Local: local, Probe: r.cfg.zero && r.cfg.udp}))
}

// statusOf returns the exit status for err: statusFailed if err has none.
func statusOf(err error) exitStatus {
	var ended signalError
	var stated statusError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &ended):
		return statusSignal + exitStatus(ended.Signal)
	case errors.As(err, &stated):
		return stated.status
	}
	return statusFailed
}
