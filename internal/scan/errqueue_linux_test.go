package scan

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlMessage returns a control message as recvmsg(2) delivers it.
func controlMessage(level, kind int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// extendedErr returns a struct sock_extended_err and the offender's address.
func extendedErr(origin, kind, code byte, data uint32, offender netip.Addr) []byte {
	b := make([]byte, 16)
	binary.NativeEndian.PutUint32(b, uint32(unix.ECONNREFUSED))
	b[4], b[5], b[6] = origin, kind, code
	binary.NativeEndian.PutUint32(b[12:], data)
	if offender.Is4() {
		b = append(binary.NativeEndian.AppendUint16(b, unix.AF_INET), 0, 0)
		return append(append(b, offender.AsSlice()...), make([]byte, 8)...)
	}
	b = append(binary.NativeEndian.AppendUint16(b, unix.AF_INET6), make([]byte, 6)...)
	return append(append(b, offender.AsSlice()...), make([]byte, 4)...)
}

// timespec returns a struct timespec, whose size depends on the processor.
func timespec(sec, nsec int64) []byte {
	ts := unix.NsecToTimespec(sec*1e9 + nsec)
	return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts)))
}

var (
	queueTarget = netip.MustParseAddrPort("10.0.2.2:53")
	queueStamp  = controlMessage(unix.SOL_SOCKET, unix.SCM_TIMESTAMPING, timespec(1_700_000_000, 5))
)

func TestErrorQueue(t *testing.T) {
	now := time.Now()
	router := netip.MustParseAddr("10.0.1.254")
	v4 := func(data []byte) []byte { return controlMessage(unix.IPPROTO_IP, unix.IP_RECVERR, data) }
	prohibited := v4(extendedErr(unix.SO_EE_ORIGIN_ICMP, 3, 13, 0, router))

	s := &socket{udpSocket: udpSocket{target: queueTarget}}
	s.entry([]byte("request"), append(prohibited, queueStamp...), queueTarget, now)
	s.entry([]byte("request"), prohibited, netip.MustParseAddrPort("10.0.2.2:999"), now) // about another datagram
	v6 := extendedErr(unix.SO_EE_ORIGIN_ICMP6, 1, 4, 0, netip.IPv6Loopback())
	s.entry(nil, controlMessage(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, v6), queueTarget, now)
	s.entry(nil, v4(extendedErr(unix.SO_EE_ORIGIN_LOCAL, 0, 0, 0, router)), queueTarget, now)
	if len(s.events) != 3 {
		t.Fatalf("%d events", len(s.events))
	}
	if e := s.events[0]; *e.icmp != (ICMP{Type: 3, Code: 13, From: router}) || string(e.quoted) != "request" || !e.kernel.Equal(time.Unix(1_700_000_000, 5)) {
		t.Errorf("%v %+v", e.icmp, e)
	}
	if e := s.events[1]; *e.icmp != (ICMP{Type: 1, Code: 4, From: netip.IPv6Loopback(), V6: true}) {
		t.Errorf("%v", e.icmp)
	}
	if e := s.events[2]; e.icmp != nil || e.err != unix.ECONNREFUSED {
		t.Errorf("%+v", e)
	}

	n := s.clock.sending()
	s.entry(nil, append(v4(extendedErr(unix.SO_EE_ORIGIN_TIMESTAMPING, 0, 0, n, router)), queueStamp...), queueTarget, now)
	if at := s.clock.kernel[n]; !at.Equal(time.Unix(1_700_000_000, 5)) || len(s.events) != 3 {
		t.Errorf("stamp %v, %d events", at, len(s.events))
	}
}

// FuzzErrorQueue parses control messages of the error queue, whose ICMP part
// and quotation come from the network.
func FuzzErrorQueue(f *testing.F) {
	for _, offender := range []string{"10.0.1.254", "fd00:1::ff"} {
		data := extendedErr(unix.SO_EE_ORIGIN_ICMP, 3, 13, 0, netip.MustParseAddr(offender))
		f.Add([]byte("request"), append(controlMessage(unix.IPPROTO_IP, unix.IP_RECVERR, data), queueStamp...))
		data[4] = unix.SO_EE_ORIGIN_ICMP6
		f.Add([]byte{}, controlMessage(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, data))
	}
	f.Fuzz(func(t *testing.T, quoted, oob []byte) {
		s := &socket{udpSocket: udpSocket{target: queueTarget}}
		s.clock.sending()
		s.entry(quoted, oob, queueTarget, time.Now())
		p := &probe{requester: &requester{sock: s}, res: Result{UDP: &Probe{}}, sent: []request{{bytes: []byte("request")}}}
		p.to.Addr = queueTarget
		for _, e := range s.events {
			done, err := p.event(&e)
			if ok := p.res.State == Closed || p.res.State == Filtered; done != ok {
				t.Errorf("%+v: %q, %v %v", e, p.res.State, done, err)
			}
			_ = e.icmp.String()
		}
	})
}
