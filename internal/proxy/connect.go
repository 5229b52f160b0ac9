package proxy

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/icholy/digest"

	"purr/internal/display"
	"purr/internal/sys"
)

const (
	maxHead    = 64 << 10 // bytes of a head of HTTP
	maxSkipped = 64 << 10 // bytes of a page that is skipped to use its connection again
)

// http asks an HTTP proxy for the target, and once more with credentials if the
// proxy demands them. If the connection cannot carry the second request, the
// error is errReconnect, and e has the credentials for a new connection.
func (e *exchange) http() error {
	e.reused = false
	for {
		response, err := e.ask()
		switch {
		case e.reused && isClosed(err) && e.heard == 0:
			return errReconnect // it was idle, and its end has crossed the request
		case err != nil:
			return err
		case response.StatusCode == http.StatusUnauthorized && e.credentials != "": // as tinyproxy says it
			return &Error{Kind: ErrPasswordWrong, Detail: statusText(response)}
		case response.StatusCode != http.StatusProxyAuthRequired:
			return statusError(response)
		case e.credentials != "":
			return &Error{Kind: ErrPasswordWrong, Detail: statusText(response)}
		}
		if e.credentials, err = e.answerTo(response); err != nil {
			return err
		}
		if !e.skipPage(response) {
			return errReconnect
		}
		e.reused = true
	}
}

// isClosed reports whether err means that the proxy has closed its end.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || sys.IsReset(err) || errors.Is(err, syscall.ECONNABORTED)
}

// ask sends one request and returns the head of the answer, after any
// informational ones (1xx). The body is still in the connection.
func (e *exchange) ask() (*http.Response, error) {
	target := e.target()
	var b bytes.Buffer
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target)
	if e.credentials != "" {
		fmt.Fprintf(&b, "Proxy-Authorization: %s\r\n", e.credentials)
	}
	b.WriteString("\r\n")
	if err := e.send(b.Bytes()); err != nil {
		return nil, err
	}
	for {
		head, err := readHead(e.conn, "HTTP/")
		e.heard += len(head)
		switch {
		case err == errOtherHead:
			return nil, e.strange(head)
		case err == errLongHead:
			return nil, &Error{Kind: ErrNotProxy, Detail: err.Error()}
		case err != nil:
			return nil, e.d.ioError(err, e.heard)
		}
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
		if err != nil {
			return nil, &Error{Kind: ErrNotProxy, Detail: display.Escape(err.Error())}
		}
		if response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, nil
		}
	}
}

var (
	errLongHead  = fmt.Errorf("the head is longer than %d bytes", maxHead)
	errOtherHead = errors.New("the head does not begin as HTTP's")
)

// readHead reads a head of HTTP with the empty line behind it, and nothing of
// what follows. It returns the bytes that were read also with an error:
// errOtherHead as soon as the head does not begin with prefix, errLongHead
// beyond maxHead, io.EOF only if there is not a single byte.
func readHead(r io.Reader, prefix string) (head []byte, err error) {
	for line := 0; len(head) < maxHead; { // line is the length of the last one
		head = append(head, 0)
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			head = head[:len(head)-1]
			if err == io.EOF && len(head) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return head, err
		}
		c := head[len(head)-1]
		if n := len(head); n <= len(prefix) && c != prefix[n-1] {
			return head, errOtherHead
		}
		switch {
		case c == '\n' && line == 0 && len(head) > 2:
			return head, nil
		case c == '\n':
			line = 0
		case c != '\r':
			line++
		}
	}
	return head, errLongHead
}

// statusError returns nil for the answer to a request that succeeded, and else
// an *Error with the status.
func statusError(response *http.Response) error {
	kind := ErrUnreachable
	switch code := response.StatusCode; {
	case code/100 == 2:
		return nil
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusUnavailableForLegalReasons:
		kind = ErrNotAllowed
	case code/100 <= 3, code == http.StatusBadRequest, code == http.StatusMethodNotAllowed,
		code == http.StatusNotImplemented, code == http.StatusHTTPVersionNotSupported:
		kind = ErrNotProxy // a web server that has no CONNECT
	}
	return &Error{Kind: kind, Detail: statusText(response)}
}

// statusText returns the status and its reason, as the proxy has worded it.
func statusText(response *http.Response) string {
	return display.Payload([]byte(strings.TrimSpace(response.Status)), 100)
}

// answerTo returns the value of Proxy-Authorization that a 407 demands. Digest
// is preferred, because Basic shows the password to everyone on the path.
func (e *exchange) answerTo(response *http.Response) (string, error) {
	if e.d.User == "" {
		return "", &Error{Kind: ErrPasswordWanted, Detail: statusText(response)}
	}
	basic := false
	var challenge *digest.Challenge
	for _, text := range splitChallenges(response.Header.Values("Proxy-Authenticate")) {
		scheme, _, _ := strings.Cut(text, " ")
		basic = basic || strings.EqualFold(scheme, "Basic")
		if c, err := digest.ParseChallenge(text); err == nil && challenge == nil {
			for i := range c.QOP {
				c.QOP[i] = strings.TrimSpace(c.QOP[i])
			}
			if digest.CanDigest(c) {
				challenge = c
			}
		}
	}
	if challenge == nil && !basic {
		return "", &Error{Kind: ErrPasswordWrong, Detail: "it takes neither Basic nor a known kind of Digest"}
	}
	password, _, err := e.password()
	if err != nil {
		return "", err
	}
	if challenge == nil {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(e.d.User+":"+password)), nil
	}
	credentials, err := digest.Digest(challenge, digest.Options{
		Method: http.MethodConnect, URI: e.target(), Username: e.d.User, Password: password,
	})
	if err != nil {
		return "", &Error{Kind: ErrNotProxy, Detail: display.Escape(err.Error())}
	}
	return credentials.String(), nil
}

// splitChallenges returns the challenges of a header, each with its parameters.
// One line may hold several (RFC 9110, section 11.6.1): a part without "=" in
// its first word begins the next.
func splitChallenges(lines []string) (out []string) {
	for _, line := range lines {
		first := true
		for _, part := range splitQuoted(line) {
			word, _, _ := strings.Cut(part, " ")
			switch {
			case part == "":
				continue
			case first || !strings.Contains(word, "="):
				out = append(out, part)
			default:
				out[len(out)-1] += ", " + part
			}
			first = false
		}
	}
	return out
}

// splitQuoted splits at commas outside of quoted strings, and trims blanks.
func splitQuoted(s string) (parts []string) {
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			parts = append(parts, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(parts, strings.TrimSpace(s[start:]))
}

// skipPage skips the body of an answer, of which only the head was read so far,
// and reports whether the connection can carry another request. A body of
// unknown length, or of more than maxSkipped bytes, is not skipped.
func (e *exchange) skipPage(response *http.Response) bool {
	length, err := strconv.ParseInt(response.Header.Get("Content-Length"), 10, 64)
	if err != nil || length > maxSkipped || response.Close || len(response.TransferEncoding) > 0 {
		return false
	}
	for _, option := range response.Header.Values("Proxy-Connection") { // not in any RFC, and in use
		if strings.EqualFold(option, "close") {
			return false
		}
	}
	_, err = io.CopyN(io.Discard, e.conn, length)
	return err == nil
}
