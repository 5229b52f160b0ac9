package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"purr/internal/flags"
)

// A Spec is a proxy as the command line describes it: the values of the options
// beside the fields. An empty one was not given.
type Spec struct {
	X     string // -x HOST[:PORT]
	XType string // -X 4, 5 or connect
	User  string // -P USER
	Proxy string // --proxy [SCHEME://][USER[:PASS]@]HOST[:PORT]
	Type  string // --proxy-type
	Auth  string // --proxy-auth USER[:PASS]
	DNS   string // --proxy-dns
	Env   string // USER:PASS of a variable, for what the options leave out
}

// Config returns the proxy, nil if there is none. The message of an error names
// the option, and never a password.
func (s *Spec) Config() (*Config, error) {
	if s.X == "" && s.Proxy == "" {
		return nil, s.unused()
	}
	if s.X != "" && s.Proxy != "" {
		return nil, errors.New("options -x and --proxy exclude each other: both are the proxy")
	}
	c, err := s.parseProxy()
	if s.X != "" {
		c, err = s.parseX()
	}
	if err == nil {
		err = s.parseUser(c)
	}
	if err == nil {
		err = s.parseDNS(c)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Server returns what a listener of --proxy-type is: the protocol, HTTP or
// SOCKS5, and the user and password that it asks for.
func (s *Spec) Server() (*Config, error) {
	c := &Config{}
	switch s.Type {
	case "http":
		c.Protocol = HTTP
	case "socks5":
	default:
		return nil, errors.New("option --proxy-type: as a server purr speaks http and socks5")
	}
	if s.XType != "" || s.DNS != "" {
		return nil, errors.New("options -X and --proxy-dns are for a client of a proxy: leave them out with -l --proxy-type")
	}
	if err := s.parseUser(c); err != nil {
		return nil, err
	}
	if c.User != "" && !c.HasPassword {
		return nil, errors.New("option --proxy-auth: there is no password: say USER:PASS")
	}
	return c, nil
}

// unused returns an error if there is an option that means nothing without a
// proxy.
func (s *Spec) unused() error {
	for _, o := range []struct{ name, value, needed string }{
		{"-X", s.XType, "-x HOST[:PORT]"}, {"-P", s.User, "-x HOST[:PORT]"},
		{"--proxy-type", s.Type, "--proxy HOST[:PORT]"}, {"--proxy-auth", s.Auth, "--proxy HOST[:PORT]"},
		{"--proxy-dns", s.DNS, "--proxy HOST[:PORT]"},
	} {
		if o.value != "" {
			return fmt.Errorf("option %s needs a proxy: say %s", o.name, o.needed)
		}
	}
	return nil
}

// parseX reads -x and -X.
func (s *Spec) parseX() (*Config, error) {
	c := &Config{Port: 1080}
	switch s.XType {
	case "", "5":
	case "4":
		c.Protocol = SOCKS4
	case "connect":
		c.Protocol, c.Port = HTTP, 3128
	default:
		return nil, fmt.Errorf("option -X: %q: say 4, 5 or connect", s.XType)
	}
	if s.Type != "" {
		return nil, errors.New("options -x and --proxy-type exclude each other: -X is the type of -x")
	}
	return c, c.setAddress("-x", s.X)
}

// schemeOf returns the protocol and the default port for the scheme of a
// proxy's URL. known is false if there is no such scheme.
func schemeOf(name string) (p Protocol, port int, known bool) {
	switch name {
	case "socks4", "socks4a":
		return SOCKS4, 1080, true
	case "socks5", "socks5h":
		return SOCKS5, 1080, true
	case "http":
		return HTTP, 3128, true
	case "https":
		return HTTPS, 443, true
	}
	return 0, 0, false
}

const schemeNames = "say socks4, socks4a, socks5, socks5h, http or https"

// parseProxy reads --proxy and --proxy-type.
func (s *Spec) parseProxy() (*Config, error) {
	if s.XType != "" {
		return nil, errors.New("options --proxy and -X exclude each other: --proxy-type is the type of --proxy")
	}
	name, rest, isURL := strings.Cut(s.Proxy, "://")
	name = strings.ToLower(name)
	if !isURL {
		name, rest = "http", s.Proxy
	}
	protocol, port, known := schemeOf(name)
	if !known {
		return nil, fmt.Errorf("option --proxy: scheme %q: %s", name, schemeNames)
	}
	if s.Type != "" {
		if protocol, port, known = schemeOf(s.Type); !known {
			return nil, fmt.Errorf("option --proxy-type: %q: %s", s.Type, schemeNames)
		}
		if isURL && name != s.Type {
			return nil, fmt.Errorf("options --proxy %s:// and --proxy-type %s exclude each other: leave one out", name, s.Type)
		}
	}
	c := &Config{Protocol: protocol, Port: port}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		if err := c.setUserinfo(rest[:at]); err != nil {
			return nil, err
		}
		rest = rest[at+1:]
	}
	if isURL {
		rest = strings.TrimSuffix(rest, "/")
	}
	return c, c.setAddress("--proxy", rest)
}

// setUserinfo sets user and password from a URL.
func (c *Config) setUserinfo(text string) error {
	user, password, has := strings.Cut(text, ":")
	var err, passwordErr error
	c.User, err = url.PathUnescape(user)
	c.Password, passwordErr = url.PathUnescape(password)
	c.HasPassword = has
	if err != nil || passwordErr != nil {
		return errors.New("option --proxy: user and password are percent-encoded, and one of them has a % without two hexadecimal digits: say %25 for it")
	}
	if c.User == "" {
		return errors.New("option --proxy: there is no user in front of the @")
	}
	return nil
}

// setAddress sets host and port from HOST[:PORT], the value of an option.
func (c *Config) setAddress(option, text string) error {
	host, port := text, ""
	switch {
	case strings.HasPrefix(text, "["):
		var behind string
		var closed bool
		host, behind, closed = strings.Cut(text[1:], "]")
		if _, ok := flags.ParseAddr(host); !ok || !closed || behind != "" && !strings.HasPrefix(behind, ":") {
			return fmt.Errorf("option %s: %q is no address: say %q", option, text, "[::1]:1080")
		}
		port = behind
	case strings.Count(text, ":") > 1:
		return fmt.Errorf("option %s: an IPv6 address stands in brackets: say %q", option, "[::1]:1080")
	case strings.Contains(text, ":"):
		colon := strings.Index(text, ":")
		host, port = text[:colon], text[colon:]
	}
	unfit := func(r rune) bool { return r <= ' ' || r == '/' || r == '@' || r == 0x7f }
	if host == "" || strings.ContainsFunc(host, unfit) {
		return fmt.Errorf("option %s: %q is no HOST[:PORT]", option, text)
	}
	c.Host = host
	if port != "" {
		n, err := flags.ParsePort("tcp", port[1:], 1)
		if err != nil {
			return fmt.Errorf("option %s: %w", option, err)
		}
		c.Port = n
	}
	return nil
}

// parseUser sets the user and password of c from -P, --proxy-auth or, for what
// those and a URL leave out, from the variable. It checks that the protocol can
// carry them.
func (s *Spec) parseUser(c *Config) error {
	option := "--proxy"
	switch {
	case s.User != "" && s.Auth != "":
		return errors.New("options -P and --proxy-auth exclude each other: both are the user")
	case c.User != "" && (s.User != "" || s.Auth != ""):
		return errors.New("option --proxy names a user already: leave out -P and --proxy-auth")
	case s.User != "":
		option, c.User = "-P", s.User
	case s.Auth != "":
		option = "--proxy-auth"
		c.User, c.Password, c.HasPassword = strings.Cut(s.Auth, ":")
		if c.User == "" {
			return errors.New("option --proxy-auth: there is no user: say USER:PASS")
		}
	}
	if user, password, has := strings.Cut(s.Env, ":"); user != "" && c.Protocol != SOCKS4 && !c.HasPassword && (c.User == "" || c.User == user) {
		option, c.User, c.Password, c.HasPassword = "the variable", user, password, has
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	switch {
	case c.Protocol != SOCKS5 && strings.ContainsFunc(c.User+c.Password, control):
		return fmt.Errorf("option %s: %v allows no control characters in user and password", option, c.Protocol)
	case c.Protocol == SOCKS4 && c.HasPassword:
		return fmt.Errorf("option %s: SOCKS4 has a user and no password: leave it out, or use SOCKS5", option)
	case c.Protocol == SOCKS5 && (len(c.User) > maxSOCKSCredential || len(c.Password) > maxSOCKSCredential):
		return fmt.Errorf("option %s: SOCKS5 takes at most %d bytes of user and of password", option, maxSOCKSCredential)
	case (c.Protocol == HTTP || c.Protocol == HTTPS) && strings.Contains(c.User, ":"):
		return fmt.Errorf("option %s: HTTP allows no colon in a user", option)
	}
	return nil
}

// parseDNS reads --proxy-dns.
func (s *Spec) parseDNS(c *Config) error {
	for dns, name := range []string{Remote: "remote", Local: "local", Both: "both", None: "none"} {
		if s.DNS == name || s.DNS == "" && DNS(dns) == Remote {
			c.DNS = DNS(dns)
			return nil
		}
	}
	return fmt.Errorf("option --proxy-dns: %q: say remote, local, both or none", s.DNS)
}
