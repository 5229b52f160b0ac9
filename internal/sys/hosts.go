package sys

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
)

// hostsFile is the file of hosts(5).
var hostsFile = "/etc/hosts"

// HostsFile returns the addresses that /etc/hosts has for a name now; none if
// it has none or there is no such file. Go's resolver reads the file again
// every 5 s at most.
func HostsFile(name string) (addrs []netip.Addr) {
	f, err := os.Open(hostsFile)
	if err != nil {
		return nil
	}
	defer f.Close()
	name = strings.TrimSuffix(name, ".")
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, alias := range fields[1:] {
			if strings.EqualFold(strings.TrimSuffix(alias, "."), name) {
				addrs = append(addrs, addr)
				break
			}
		}
	}
	return addrs
}
