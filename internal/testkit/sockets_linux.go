package testkit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Socket is one of the sockets of this network namespace. Programs other than
// purr print nothing when they are ready, but their sockets show it.
type Socket struct {
	Local, Remote netip.AddrPort
	Inode         uint32 // as in the links of /proc/PID/fd
}

// Sockets returns the sockets over IPv4 and IPv6 that are in any of the states
// of tcp_states.h, or all but those in TIME-WAIT. See sock_diag(7): the kernel
// passes over all others, while the tables in /proc/net also print thousands of
// connections that tests of servers have left, which takes 20 ms.
func Sockets(t testing.TB, network string, states ...int) (all []Socket) {
	t.Helper()
	set := ^uint32(1 << unix.BPF_TCP_TIME_WAIT)
	if len(states) > 0 {
		set = 0
	}
	for _, state := range states {
		set |= 1 << state
	}
	protocol := map[string]uint8{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}[network]
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := dump(family, protocol, set)
		if err != nil && !errors.Is(err, unix.ENOENT) { // no IPv6
			t.Fatalf("sockets of %s: %v", network, err)
		}
		all = append(all, sockets...)
	}
	return all
}

// A diagRequest is struct inet_diag_req_v2.
type diagRequest struct {
	Family, Protocol, Ext, Pad uint8
	States                     uint32
	ID                         diagID
}

// A diagID is struct inet_diag_sockid. Its ports and addresses are in network
// byte order.
type diagID struct {
	LocalPort, RemotePort [2]byte
	Local, Remote         [16]byte
	Interface             uint32
	Cookie                [2]uint32
}

// A diagMessage is struct inet_diag_msg.
type diagMessage struct {
	Family, State, Timer, Retrans              uint8
	ID                                         diagID
	Expires, ReadQueue, WriteQueue, UID, Inode uint32
}

// dump asks the kernel for the sockets of one family in any of a set of states.
func dump(family, protocol uint8, states uint32) (all []Socket, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	request := diagRequest{Family: family, Protocol: protocol, States: states}
	header := unix.NlMsghdr{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP}
	header.Len = uint32(binary.Size(header) + binary.Size(request))
	var b bytes.Buffer
	_ = binary.Write(&b, binary.NativeEndian, header)
	_ = binary.Write(&b, binary.NativeEndian, request)
	if err := unix.Sendto(fd, b.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	for answer := make([]byte, 64<<10); ; {
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			var d diagMessage
			switch {
			case m.Header.Type == unix.NLMSG_DONE:
				return all, nil
			case m.Header.Type == unix.NLMSG_ERROR:
				return nil, syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			default:
				if _, err := binary.Decode(m.Data, binary.NativeEndian, &d); err != nil {
					return nil, err
				}
				all = append(all, Socket{d.ID.address(d.Family, d.ID.Local, d.ID.LocalPort), d.ID.address(d.Family, d.ID.Remote, d.ID.RemotePort), d.Inode})
			}
		}
	}
}

// address returns one end of a socket.
func (diagID) address(family uint8, ip [16]byte, port [2]byte) netip.AddrPort {
	addr := netip.AddrFrom16(ip)
	if family == unix.AF_INET {
		addr = netip.AddrFrom4([4]byte(ip[:4]))
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port[:]))
}

// UnixSockets returns the paths and inodes of the Unix sockets of this network
// namespace that wait for peers: those of streams that listen, and those of
// datagrams that are bound. See /proc/net/unix in proc(5).
func UnixSockets(t testing.TB) (inodes map[string]string) {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	inodes = make(map[string]string)
	for line := range strings.Lines(string(text)) {
		// Num RefCount Protocol Flags Type St Inode Path; Flags has
		// __SO_ACCEPTCON for a listener, Type 2 is SOCK_DGRAM.
		f := strings.Fields(line)
		if len(f) == 8 && (f[3] == "00010000" || f[4] == "0002") {
			inodes[f[7]] = f[6]
		}
	}
	return inodes
}
