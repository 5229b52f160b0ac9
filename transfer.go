package main

import (
	"context"
	"io"
	"net"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/halfclose"
	"purr/internal/sock"
)

// A session is a conversation of a connection with stdin and stdout, or with
// what stands in for them. Two pumps run at the same time.
type session struct {
	*conversation
	conn      net.Conn        // closed by relay
	in        fdio.Source     // nil: stdin is not read, and the half-close follows the peer's
	rule      *halfclose.Rule // when stdin's end becomes a half-close
	inName    string          // of in, in messages
	out       *fdio.File      // with an Interrupt of its own; nil: received bytes are dropped (--send-only)
	outName   string          // of out, in messages
	interrupt *fdio.Interrupt // ends what waits for in
	ownStdout bool            // whether out is closed when the peer has finished

	file   string // the file that is sent or received, whose progress is shown; empty: none
	fileIn bool   // whether it is received

	display io.Writer // shows received bytes, in place of out: the line editor

	sendFilters, receiveFilters []copier.Filter // in order

	// newSendCopier and newReceiveCopier make the copiers of files that are
	// hashed. Nil: copier.New.
	newSendCopier, newReceiveCopier copierFunc

	// onDone, if set, may replace the result before close; a success that becomes
	// an error resets the connection.
	onDone func(*teardown) error

	sendCopier, receiveCopier copier.Copier
	stdoutFailed              bool // set before relay returns
}

// A copierFunc makes a copier, as copier.New does.
type copierFunc func(dst io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier

// relay runs both pumps and returns when the conversation is over: nil if it
// ended in order and the peer's system has acknowledged every byte.
//
//   - The end of stdin half-closes the connection when s.rule decides so; the
//     peer may go on.
//   - The end of the peer closes a stdout that is a pipe, so that the program
//     behind it ends too and its last output can still be sent:
//     "purr -l PORT <fifo | server >fifo".
//   - The end of the peer ends the session unless stdin has bytes that would be
//     lost; see teardown.peerEnded.
//   - A direction that fails closes both ends, and its error is the one
//     returned, with its direction. After a failed write to the connection,
//     bytes that the peer has sent are received first.
//   - Both pumps are waited for, except one that hangs in a write to a stdout
//     without a reader: only the end of the process ends that.
func (s *session) relay(ctx context.Context) error {
	s.Restart()
	s.startProgress()
	defer s.progress.End()
	s.newCopiers()
	v := newSupervisor(s)
	v.start()
	v.run(ctx)

	s.interrupt.Fire() // nothing more is sent during the wait for acknowledgements
	if v.failed == nil && ctx.Err() == nil {
		v.failed = v.awaitAck(ctx)
	}
	if !s.fileIn {
		v.settle(ctx)
	}
	if s.onDone != nil {
		v.apply(s.onDone, context.Cause(ctx))
	}
	if s.fileIn { // which has its name now
		v.settle(ctx)
	}
	stdout := fdio.Other
	if s.out != nil {
		s.out.Interrupt.Fire()
		stdout = s.out.Kind()
	}
	if v.resets(stdout) {
		sock.Reset(s.conn)
	} else {
		_ = s.conn.Close()
	}
	drain(v.results, v.running)
	s.stdoutFailed = v.teardown.stdoutFailed
	s.end(v.endReason(), "")
	return v.failed
}

// startProgress begins to show a raw file, or with --progress the bytes of a
// conversation.
func (s *session) startProgress() {
	size := int64(-1)
	if s.fileIn {
		size = s.t.file.expectSize // -1: any
	}
	switch in := s.in.(type) {
	case *fdio.Exact:
		size = in.Size
	case *fdio.File:
		size = in.Remaining()
	}
	switch {
	case s.fileIn:
		s.inProgress = receiving
	case s.file != "" || size >= 0:
		s.inProgress = sending
	}
	if s.file != "" {
		s.progress = s.t.track(s.file, size, false)
		return
	}
	s.showProgress(s.peer, size)
}

// newCopiers sets the copiers of both directions, for send and receive.
func (s *session) newCopiers() {
	toConn := s.byLine(s.limited(s.conn))
	var toStdout io.Writer = io.Discard
	switch {
	case s.out == nil:
	case s.display != nil:
		toStdout = s.display
	default:
		toStdout = s.out
	}
	if in, ok := s.in.(*fdio.File); ok {
		in.EnlargePipe()
	}
	if s.out != nil {
		s.out.EnlargePipe()
	}
	var send, receive copierFunc = s.newPeekingCopier, copier.New
	if s.newSendCopier != nil {
		send = s.newSendCopier
	}
	if s.newReceiveCopier != nil {
		receive = s.newReceiveCopier
	}
	if s.in != nil {
		s.sendCopier = send(toConn, s.in, s.sendFilters...)
	}
	s.receiveCopier = receive(toStdout, s.conn, s.receiveFilters...)
}

// newPeekingCopier is copier.New for stdin, whose first bytes the rule sees.
func (s *session) newPeekingCopier(dst io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier {
	return copier.NewPeeking(dst, src, s.rule.Look(), filters...)
}

// send pumps stdin into the connection. At the end it half-closes it, unless
// the rule waits for an answer.
func (s *session) send(results chan<- outcome) {
	err := copier.Run(s.sendCopier, s.t.limit.Slice(copier.MaxSlice), func(n int) error {
		s.countSent(n, 1)
		s.rule.Sent(n)
		s.Touch()
		return s.pause()
	})
	s.sendCopier.Close()
	if err == nil && s.rule.AtOnce() {
		err = s.halfClose()
	}
	results <- outcome{sending, err}
}

// halfClose ends the sending direction. Under TLS it may block.
func (s *session) halfClose() error {
	if err := sock.HalfClose(s.conn); err != nil {
		return &fdio.CopyError{Reading: false, Err: err}
	}
	return nil
}

// receive pumps the connection into stdout and sends its outcome to results.
// After the peer's end it also reports to an encrypted peer that all was taken;
// for a file, only settle does, once it is stored.
func (s *session) receive(results chan<- outcome) {
	err := copier.Run(s.receiveCopier, copier.MaxSlice, func(n int) error {
		s.Touch()
		s.rule.Received(n)
		if err := s.countReceived(n, 1); err != nil {
			return err
		}
		return s.pause()
	})
	s.receiveCopier.Close()
	results <- outcome{receiving, err}
	if err == nil && !s.fileIn {
		reportTaken(s.conn, s.received.bytes.Load())
	}
}

// close frees the session's own descriptors. The connection, stdin and stdout
// are the caller's.
func (s *session) close() {
	s.interrupt.Close()
	if s.out != nil {
		s.out.Interrupt.Close()
	}
}
