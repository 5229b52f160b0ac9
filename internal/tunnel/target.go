package tunnel

import (
	"fmt"
	"net"
	"strings"

	"purr/internal/flags"
	"purr/internal/sock"
)

// A Target is where the other end of a tunnel is.
type Target struct {
	Host string // with Port: over TCP
	Port int
	TLS  bool   // over TCP, and encrypted
	UDP  bool   // datagrams, over UDP
	Path string // of a Unix socket; "@name" is abstract. Empty: over TCP or UDP
	VM   bool   // between virtual machines: Path is "vsock:CID:PORT"
}

// ParseTarget reads HOST:PORT, [IPV6]:PORT, unix:PATH or vsock:CID:PORT. The
// first two may follow "tls:" or "udp:", and an empty host is localhost.
func ParseTarget(text string) (Target, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok && path != "" {
		return Target{Path: path}, nil
	}
	if strings.HasPrefix(text, "vsock:") {
		if _, err := sock.ParseVM(text, false); err != nil {
			return Target{}, err
		}
		return Target{Path: text, VM: true}, nil
	}
	address, encrypted := strings.CutPrefix(text, "tls:")
	address, datagrams := strings.CutPrefix(address, "udp:")
	network := "tcp"
	if datagrams {
		network = "udp"
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil || encrypted && datagrams || strings.ContainsAny(host, "/ ") || host == "tls" || host == "udp" || host == "unix" {
		return Target{}, fmt.Errorf("%q is no target: say HOST:PORT, unix:PATH, tls:HOST:PORT, udp:HOST:PORT or vsock:CID:PORT", text)
	}
	port, err := flags.ParsePort(network, portText, 1)
	if err != nil {
		return Target{}, err
	}
	if host == "" {
		host = "localhost"
	}
	return Target{Host: host, Port: port, TLS: encrypted, UDP: datagrams}, nil
}
