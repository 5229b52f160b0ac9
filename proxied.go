package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"purr/internal/display"
	"purr/internal/lineedit"
	"purr/internal/proxy"
	"purr/internal/sys"
)

// This file dials through a proxy: -x and --proxy.

// newProxied returns the dialer of the proxy, or nil if there is none. atExit
// registers what restores the terminal if a signal ends the run while a
// password is asked for.
func (d *dialer) newProxied(atExit func(func())) *proxy.Dialer {
	if d.netOptions.proxy == nil {
		return nil
	}
	c := *d.netOptions.proxy
	options := *d.netOptions // for the way to the proxy itself
	options.host = c.Host
	if c.Protocol == proxy.HTTPS {
		_, _ = x509.SystemCertPool() // read once, while files can be opened
	}
	direct := *d
	direct.netOptions = &options
	return &proxy.Dialer{Config: c, Timeout: d.connectTimeout,
		Dial: func(ctx context.Context) (net.Conn, error) { return direct.dialHost(ctx, c.Port) },
		Resolve: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return d.resolve(ctx, name, d.ports[0])
		},
		AskPassword: func(context.Context) (string, error) {
			prompt := fmt.Sprintf("password of %s at the proxy %s: ", display.Escape(c.User), display.Escape(c.Addr()))
			password, err := lineedit.AskPassword(prompt, atExit)
			if err != nil {
				err = statusError{statusAuth, fmt.Errorf("the proxy wants a password, and it cannot be asked for on the terminal (%v): say --proxy-auth USER:PASS, or set NCAT_PROXY_AUTH", sys.Cause(err))}
			}
			return password, err
		}}
}

// dialProxied connects to one port of the host through the proxy. The result is
// the connection to the proxy, on which only payload follows. An error has the
// exit status of its kind.
func (d *dialer) dialProxied(ctx context.Context, port int) (net.Conn, error) {
	conn, err := d.proxied.Connect(ctx, d.host, port)
	failed, ok := errors.AsType[*proxy.Error](err)
	if !ok {
		return conn, err
	}
	status := statusFailed
	switch failed.Kind {
	case proxy.ErrNotAllowed:
		status = statusRefused
	case proxy.ErrNotProxy:
		status = statusNotPurr
	case proxy.ErrPasswordWanted, proxy.ErrPasswordWrong, proxy.ErrUntrusted:
		status = statusAuth
	}
	hint := ""
	if failed.Kind == proxy.ErrPasswordWanted {
		hint = "; say --proxy-auth USER:PASS, or -P USER"
	}
	err = fmt.Errorf("connect to %s port %d (%s) through %s failed: %w%s", d.host, port, d.network, display.Escape(d.proxied.Addr()), failed, hint)
	if status != statusFailed {
		err = statusError{status, err}
	}
	return nil, err
}

// checkProxied is -z through the proxy: one port after the other. Like nc's, it
// prints nothing without -v.
func (c *checker) checkProxied(ctx context.Context) error {
	if c.opts.hostsOnStdin || c.opts.hosts.Len() > 1 {
		return statusError{statusUsage, errors.New("options -z --proxy (or -x) and several hosts exclude each other: ask for each host in turn")}
	}
	return c.askInTurn(ctx, func(port int) error {
		conn, err := c.dialRetry(ctx, port)
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() == nil {
			c.log.verbosef("%v", err)
		}
		return statusError{statusOf(err), reportedError{err}}
	})
}
