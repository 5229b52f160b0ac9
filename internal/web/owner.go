package web

import (
	"strings"
	"time"
)

// This file decides which clients a server without Keep serves, and when it has
// served.

// The answers to clients that such a server does not serve.
const (
	busy   = "busy with another client: listen with -k to serve several"
	served = "this end has served, and ends: listen with -k to serve several"
)

// enter counts a download, an upload or a transfer, which leave ends. It
// reports false if the server is about to end.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enterLocked()
}

func (s *Server) enterLocked() bool {
	if s.served {
		return false
	}
	s.underWay++
	return true
}

// leave ends what enter or acquire has begun.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay--
	s.endLocked()
}

// endLocked ends a server that has served, once nothing is under way.
func (s *Server) endLocked() {
	if s.served && s.underWay == 0 {
		select {
		case s.finished <- struct{}{}:
		default:
		}
	}
}

// acquire makes c the only client that a server without Keep serves until
// release, and reports whether it is; then the caller calls leave. Between two
// uploads of one visit the client may change its connection; a page may do so
// before the end of an upload that it has cancelled is noticed here.
func (s *Server) acquire(c *client, visit string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.Keep {
		same := s.visit == visit && (s.pause != nil || strings.HasPrefix(visit, pageVisit))
		if s.owner != nil && s.owner != c && !same {
			return false
		}
		if s.pause != nil {
			s.pause.Stop()
		}
		s.owner, s.visit, s.pause = c, visit, nil
	}
	return s.enterLocked()
}

func (s *Server) release(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == c {
		s.owner = nil
	}
}

// finish ends a server without Keep when nothing is under way, unless another
// client owns it. The error is nil, or the client's failure; c is nil for a
// client that Prepare has rejected.
func (s *Server) finish(c *client, err error) {
	s.mu.Lock()
	counts := !s.o.Keep && (s.owner == nil || s.owner == c)
	if counts {
		if err != nil {
			s.errs = append(s.errs, err)
		}
		s.served = true
		s.endLocked()
	}
	s.mu.Unlock()
	if !counts && err != nil {
		s.o.Events.ClientFailed(err)
	}
}

// brokeOff records the failure of a client that may come back. It counts only
// if the server ends with it.
func (s *Server) brokeOff(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.served {
		s.errs = append(s.errs, err)
	}
}

// goOn records the failure of a client that will send more. The client owns the
// server until its next upload, or until it has been silent for too long.
func (s *Server) goOn(c *client, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.errs = append(s.errs, err)
	}
	if s.owner != c || s.pause != nil {
		return
	}
	var pause *time.Timer
	pause = time.AfterFunc(s.o.Silence, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pause == pause {
			s.owner, s.pause = nil, nil
		}
	})
	s.pause = pause
}
