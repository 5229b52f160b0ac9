package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"purr/internal/display"
	"purr/internal/flags"
	"purr/internal/sock"
)

// idleTime is how long a client may wait with its next request.
const idleTime = time.Minute

// A webClient is the connection of a client of HTTP.
type webClient struct {
	net.Conn
	r     *bufio.Reader
	limit *headLimit
}

// HTTP serves a client of an HTTP proxy: CONNECT, and GET, HEAD and POST with
// an absolute URI of http (RFC 9112, section 3.2). The password is that of
// Digest or Basic. It closes c. An error is a *Refusal, a connection's error,
// or ctx's cause if ctx ended first. Every refusal ends the connection.
func (s *Server) HTTP(ctx context.Context, c net.Conn) error {
	limit := &headLimit{r: c}
	w := &webClient{Conn: c, r: bufio.NewReader(limit), limit: limit}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			host, port, ok := splitTarget(addr)
			if !ok {
				return nil, &Refusal{Target: display.Escape(addr), Reason: "no address"}
			}
			return s.dial(ctx, host, port)
		},
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   1,
	}
	defer transport.CloseIdleConnections()
	return serve(ctx, c, func() error {
		for wait := s.timeout(); ; wait = idleTime {
			request, err := w.next(wait, s.timeout())
			if request == nil {
				return err
			}
			again, err := s.answer(ctx, w, transport, request)
			if err != nil || !again {
				return err
			}
		}
	})
}

// next reads the next request, within limit once it has begun. It returns nil
// and no error if the client has finished or is idle for wait. A request that
// it cannot read is answered with a refusal, which is the error.
func (w *webClient) next(wait, limit time.Duration) (*http.Request, error) {
	w.limit.left = math.MaxInt64
	_ = w.SetReadDeadline(time.Now().Add(wait))
	first, err := w.r.Peek(1)
	switch {
	case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	case err == nil && (first[0] < 'A' || first[0] > 'Z'):
		return nil, w.refuse(http.StatusBadRequest, "", &Refusal{Reason: fmt.Sprintf("the client does not speak HTTP: its first byte is %#02x", first[0])})
	}
	w.limit.left = maxHead
	_ = w.SetReadDeadline(time.Now().Add(limit))
	request, err := http.ReadRequest(w.r)
	w.limit.left = math.MaxInt64
	switch {
	case errors.Is(err, errLongHead):
		return nil, w.refuse(http.StatusRequestEntityTooLarge, "", &Refusal{Reason: err.Error()})
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, w.refuse(http.StatusRequestTimeout, "", readError(err))
	case err != nil && isClosed(err):
		return nil, readError(err)
	case err != nil:
		return nil, w.refuse(http.StatusBadRequest, "", &Refusal{Reason: "no request of HTTP: " + display.Escape(err.Error())})
	}
	_ = w.SetDeadline(time.Time{})
	return request, nil
}

// A headLimit is a reader that fails with errLongHead after left bytes.
type headLimit struct {
	r    io.Reader
	left int64
}

func (l *headLimit) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLongHead
	}
	n, err := l.r.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// answer serves one request, and reports whether another one may follow.
func (s *Server) answer(ctx context.Context, w *webClient, transport *http.Transport, request *http.Request) (again bool, err error) {
	if s.User != "" {
		if known, stale := s.isKnown(request); !known {
			why := (*Refusal)(nil)
			if request.Header.Get("Proxy-Authorization") != "" && !stale {
				why = &Refusal{Reason: "wrong user or password"}
			}
			return false, w.refuse(http.StatusProxyAuthRequired, s.challenges(stale), why)
		}
	}
	hasLength := request.Header.Get("Content-Length") != "" || len(request.TransferEncoding) > 0
	switch method := request.Method; {
	case method == http.MethodConnect:
		return false, s.connectFor(ctx, w, request)
	case method != http.MethodGet && method != http.MethodHead && method != http.MethodPost:
		return false, w.refuse(http.StatusMethodNotAllowed, "Allow: CONNECT, GET, HEAD, POST\r\n",
			&Refusal{Reason: "the method " + display.Escape(method) + " is not served"})
	case request.URL.Scheme != "http" || request.URL.Host == "":
		return false, w.refuse(http.StatusBadRequest, "", &Refusal{Reason: "the request has no absolute URI of http"})
	case method == http.MethodPost && !hasLength:
		return false, w.refuse(http.StatusLengthRequired, "", &Refusal{Reason: "the POST has no length"})
	}
	return s.forward(ctx, w, transport, request)
}

// connectFor serves a CONNECT. It passes bytes that the client has sent behind
// its request on to the target.
func (s *Server) connectFor(ctx context.Context, w *webClient, request *http.Request) error {
	host, port, ok := splitTarget(request.RequestURI)
	if !ok || !isName(host) {
		return w.refuse(http.StatusBadRequest, "", &Refusal{Reason: fmt.Sprintf("CONNECT needs HOST:PORT, and not %q", request.RequestURI)})
	}
	target, err := s.dial(ctx, host, port)
	if err != nil {
		return w.refuse(dialStatus(err), "", err)
	}
	early, _ := w.r.Peek(w.r.Buffered())
	_ = w.SetDeadline(time.Now().Add(s.timeout()))
	if _, err = io.WriteString(w.Conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err == nil {
		_, err = target.Write(early)
	}
	if err != nil {
		sock.Reset(target)
		return err
	}
	return s.join(ctx, w.Conn, target)
}

// splitTarget splits HOST:PORT, with an IPv6 address in brackets. The port is a
// number from 1 to 65535.
func splitTarget(text string) (host string, port int, ok bool) {
	host, number, err := net.SplitHostPort(text)
	if err != nil || host == "" || !flags.IsPort(number) {
		return "", 0, false
	}
	port, err = strconv.Atoi(number)
	return host, port, err == nil
}

// dialStatus returns the status for an error of dial.
func dialStatus(err error) int {
	if errors.Is(err, ErrNotAllowed) {
		return http.StatusForbidden
	}
	return http.StatusGatewayTimeout
}

// hopHeaders are those of one connection, which a proxy does not pass on: RFC
// 9110, section 7.6.1.
var hopHeaders = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// removeHops removes the headers of one connection: hopHeaders, and those that
// the header Connection names.
func removeHops(h http.Header) {
	for _, names := range h.Values("Connection") {
		for name := range strings.SplitSeq(names, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopHeaders {
		h.Del(name)
	}
}

// forward passes a request on and its answer back, and reports whether another
// request may follow. A cut answer resets the client's connection, so that it
// does not look complete.
func (s *Server) forward(ctx context.Context, w *webClient, transport *http.Transport, request *http.Request) (again bool, err error) {
	expects := strings.EqualFold(request.Header.Get("Expect"), "100-continue")
	body := &requestBody{ReadCloser: request.Body, w: w, expects: expects}
	out := request.WithContext(ctx)
	out.RequestURI = ""
	if request.Body != http.NoBody {
		out.Body = body
	} else {
		body.whole.Store(true)
	}
	removeHops(out.Header)
	out.Header.Add("Via", "1.1 purr")
	if _, has := out.Header["User-Agent"]; !has {
		out.Header.Set("User-Agent", "") // else net/http adds its own
	}
	response, err := transport.RoundTrip(out)
	if err != nil {
		status := http.StatusBadGateway
		if refused, ok := errors.AsType[*Refusal](err); ok {
			status, err = dialStatus(refused), refused
		} else {
			err = &Refusal{Target: display.Escape(request.URL.Host), Reason: display.Escape(err.Error()), Err: err}
		}
		return false, w.refuse(status, "", err)
	}
	defer response.Body.Close()
	removeHops(response.Header)
	modern := request.ProtoAtLeast(1, 1)
	response.Proto, response.ProtoMajor, response.ProtoMinor, response.TransferEncoding = "HTTP/1.1", 1, 1, nil
	response.Close = request.Close || !modern || !body.whole.Load()
	if response.ContentLength < 0 && modern {
		response.TransferEncoding = []string{"chunked"}
	}
	if !modern {
		response.ProtoMinor = 0
	}
	buffered := bufio.NewWriter(w.Conn)
	response.Body = flushing{response.Body, buffered}
	if err = response.Write(struct{ io.Writer }{buffered}); err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		sock.Reset(w.Conn)
		return false, fmt.Errorf("%s: %w", display.Escape(request.URL.Host), err)
	}
	if response.Close {
		linger(w.Conn)
	}
	return !response.Close, nil
}

// A requestBody is the body of a request. Closing it does not read the rest.
type requestBody struct {
	io.ReadCloser
	w       *webClient
	expects bool        // whether the client waits for a 100
	whole   atomic.Bool // whether it was read to its end
}

// Read sends 100 Continue before the first bytes if the client waits for that.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.expects {
		b.expects = false
		if _, err := io.WriteString(b.w.Conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return 0, err
		}
	}
	n, err := b.ReadCloser.Read(p)
	b.whole.Store(err == io.EOF)
	return n, err
}

func (b *requestBody) Close() error { return nil }

// A flushing body sends what it has delivered before it waits for more, so that
// an answer that comes in pieces is not held up.
type flushing struct {
	io.ReadCloser
	w *bufio.Writer
}

func (f flushing) Read(p []byte) (int, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	return f.ReadCloser.Read(p)
}

// refuse answers with an error status and the reason why, a *Refusal, and ends
// the connection. header holds more lines of the head, each with CR LF at its
// end. The result is the reason, as an error that is nil for a nil *Refusal.
func (w *webClient) refuse(status int, header string, why error) error {
	refusal, _ := why.(*Refusal)
	text := http.StatusText(status)
	if refusal != nil {
		text = refusal.Error()
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\nProxy-Connection: close\r\n%s\r\npurr: %s\n",
		status, http.StatusText(status), len("purr: \n")+len(text), header, text)
	_ = w.SetDeadline(time.Now().Add(lingerTime))
	if _, err := w.Write(b.Bytes()); err == nil {
		linger(w.Conn)
	}
	if refusal == nil {
		return nil
	}
	return refusal
}

// challenges returns the headers that demand a password. A client takes the
// first that it can (RFC 7616, section 3.7), except Ncat, which gives up if the
// first Digest is not MD5.
func (s *Server) challenges(stale bool) string {
	var b strings.Builder
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		fmt.Fprintf(&b, "Proxy-Authenticate: Digest realm=\"%s\", nonce=\"%s\", qop=\"auth\", algorithm=%s, stale=%v\r\n", realm, s.nonce(time.Now()), algorithm, stale)
	}
	b.WriteString("Proxy-Authenticate: Basic realm=\"" + realm + "\"\r\n")
	return b.String()
}

// isKnown reports whether a request has the right password; if not, stale is
// true if only its nonce is too old.
func (s *Server) isKnown(request *http.Request) (known, stale bool) {
	text := request.Header.Get("Proxy-Authorization")
	scheme, rest, _ := strings.Cut(text, " ")
	if strings.EqualFold(scheme, "Basic") {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
		user, password, _ := strings.Cut(string(b), ":")
		return err == nil && s.knows(user, password), false
	}
	return s.isDigest(text, request)
}
