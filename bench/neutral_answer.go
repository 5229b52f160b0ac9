package main

import (
	"net"

	"golang.org/x/net/ipv4"
)

// answer sends everything back on each connection, until it is killed.
func answer(j job) (report, error) {
	l, err := net.Listen(j.Net, j.Addr)
	if err != nil {
		return report{}, err
	}
	say(report{Ready: l.Addr().String(), Bad: -1})
	for {
		conn, err := l.Accept()
		if err != nil {
			return report{}, err
		}
		go func() {
			defer conn.Close()
			var b [4 << 10]byte
			for {
				n, err := conn.Read(b[:])
				if err != nil {
					return
				}
				if _, err := conn.Write(b[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// udpAnswer answers each datagram in upper case, until it is killed.
func udpAnswer(j job) (report, error) {
	c, err := net.ListenPacket("udp4", j.Addr)
	if err != nil {
		return report{}, err
	}
	growBuffer(c.(*net.UDPConn))
	say(report{Ready: c.LocalAddr().String(), Bad: -1})
	pc := ipv4.NewPacketConn(c)
	in := batch(udpBatch, udpMax)
	out := make([]ipv4.Message, udpBatch)
	for {
		n, err := pc.ReadBatch(in, 0)
		if err != nil {
			return report{}, err
		}
		for i := range n {
			d := in[i].Buffers[0][:in[i].N]
			upperASCII(d)
			out[i] = ipv4.Message{Buffers: [][]byte{d}, Addr: in[i].Addr}
		}
		if err := sendBatch(pc, out[:n]); err != nil {
			return report{}, err
		}
	}
}
