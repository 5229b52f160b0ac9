package main

import (
	"path/filepath"

	"purr/internal/confine"
)

// confine gives up the rights that the rest of the run does not need, once
// everything is open. A command behind "--" or of --exec is another program,
// and keeps all. Calls after the first do nothing.
func (r *run) confine() {
	if r.cfg.noSandbox || len(r.cfg.command) > 0 || r.cfg.exec != nil {
		return
	}
	r.confined.Do(func() {
		at := verbose
		if r.cfg.zero { // its lines under -v are nc's alone
			at = veryVerbose
		}
		held, err := confine.Restrict(r.rights())
		if err != nil {
			r.log.warnf("not confined: %v", err)
		} else {
			r.log.messagef(at, "%v", held)
		}
	})
}

// rights returns what the run still needs once its sockets are open: name
// lookups, ports, paths to read and write, and the paths that its end removes.
func (r *run) rights() confine.Rules {
	c := r.cfg
	several := !c.listen && len(c.ports) > 1
	names := !c.unix && !c.numeric && (c.zero || c.proxy != nil && c.push.moves() || several || c.listen && c.verbose > 0)
	may := confine.Rules{Names: names, FreshNames: names && c.waits(), AnyTCP: several, UnixSockets: c.unix}
	if !c.listen && (c.zero || c.push.moves()) { // a push opens further connections
		may.Connect, may.Bind = c.ports, []int{c.sourcePort}
	}
	if c.tunnel != nil { // each client opens a connection
		may.Names = !c.numeric && c.tunnel.Path == ""
		may.FreshNames, may.UnixSockets = may.Names, c.unix || c.tunnel.Path != ""
		if !c.udp {
			may.Connect = []int{c.tunnel.Port}
		}
	}
	if c.server != nil {
		may.Names, may.FreshNames, may.AnyTCP = !c.numeric, !c.numeric, true
	}
	if c.proxy != nil && len(may.Connect) > 0 {
		may.Connect = []int{c.proxy.Port}
	}
	if may.Read = c.push.paths; c.sendFile != "" {
		may.Read = []string{c.sendFile}
	}
	switch {
	case c.push.pull:
		may.Write = []string{c.push.dir}
	case c.file.direct:
		may.Write = []string{c.file.recv}
	case c.file.recv != "":
		may.Write = []string{filepath.Dir(c.file.recv)}
	}
	may.Remove = []string{c.portFile}
	if c.unix {
		may.Remove = append(may.Remove, c.source)
	}
	if c.listen && c.inherited == nil && !c.vsock {
		may.Remove = append(may.Remove, c.path)
	}
	return may
}
