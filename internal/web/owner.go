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

// enter counts a download as under way until the caller calls leave. It reports
// false, and counts nothing, if a server without Keep has served and is about
// to end.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enterLocked()
}

// enterLocked is enter for callers that hold s.mu.
func (s *Server) enterLocked() bool {
	if s.served {
		return false
	}
	s.underWay++
	return true
}

// leave undoes enter or acquire. The last one ends a server that has served.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay--
	s.endLocked()
}

// endLocked makes Serve return if a server without Keep has served and nothing
// is under way. The caller holds s.mu.
func (s *Server) endLocked() {
	if s.served && s.underWay == 0 {
		select {
		case s.finished <- struct{}{}:
		default:
		}
	}
}

// acquire makes c the owner, the only client that may upload to a server
// without Keep, until release. It reports whether c owns it and counts an
// upload as under way; the caller then calls leave. visit is the key of
// client.visit: between two uploads of one visit another connection may become
// the owner. With a visit named by the page it may do so at any time, since the
// end of a cancelled upload can be noticed late.
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

// release ends the ownership of c without an outcome: the next client may
// become the owner.
func (s *Server) release(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == c {
		s.owner = nil
	}
}

// finish marks a server without Keep as served, so that it ends when nothing is
// under way. err is the failure of the client c, for Serve to return, or nil. c
// is nil for a client that Prepare has rejected. If another client owns the
// server, or with Keep, err only goes to Events.
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

// brokeOff handles the failure of a client that may retry: the server goes on.
// Serve returns err only if the server is already about to end.
func (s *Server) brokeOff(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.served {
		s.errs = append(s.errs, err)
	}
}

// goOn records the outcome of an upload of c that announces a further one by
// Purr-More; err is nil after success. c stays the owner until then, for
// Options.Silence at most.
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
