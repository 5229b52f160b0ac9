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

// acquire counts an upload or transfer of c as under way. It reports false, and
// counts nothing, if a server without Keep has served, or if another client
// owns it. After true the caller calls leave. Without Keep c is now the owner,
// the only client that may upload, until release or the end of its pause.
//
// A further connection of the owner's visit, see client.visit, becomes the
// owner instead in the pause between two uploads. If the page has named the
// visit, it does so at any time, since the end of a cancelled upload can be
// noticed late.
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
// under way. err is the failure of the client c, which Serve returns, or nil. c
// is nil for a client that Prepare has rejected. With Keep, or if another
// client owns the server, finish only reports err to Events.ClientFailed.
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

// brokeOff handles the failure err of a client that may retry. The server goes
// on and drops err. Only if it is already about to end, Serve returns err.
func (s *Server) brokeOff(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.served {
		s.errs = append(s.errs, err)
	}
}

// goOn records err for Serve to return: the failure of an upload of c, or nil.
// The upload has announced a further one by Purr-More. c stays the owner until
// that begins, for Options.Silence at most.
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
