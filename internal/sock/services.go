package sock

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"sync"
)

// wellKnown returns the ports a network tutorial begins with, for machines
// without /etc/services.
func wellKnown() map[string]string {
	return map[string]string{
		"20/tcp": "ftp-data", "21/tcp": "ftp", "22/tcp": "ssh", "23/tcp": "telnet", "25/tcp": "smtp",
		"53/tcp": "domain", "53/udp": "domain", "67/udp": "bootps", "68/udp": "bootpc", "69/udp": "tftp",
		"80/tcp": "http", "110/tcp": "pop3", "119/tcp": "nntp", "123/udp": "ntp", "143/tcp": "imap2",
		"161/udp": "snmp", "443/tcp": "https", "443/udp": "https", "514/udp": "syslog", "993/tcp": "imaps",
	}
}

// services maps "80/tcp" to "http", the first name that /etc/services gives.
var services = sync.OnceValue(func() map[string]string {
	f, err := os.Open("/etc/services")
	if err != nil {
		return wellKnown()
	}
	defer f.Close()
	names := make(map[string]string)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if fields := strings.Fields(text); len(fields) >= 2 && names[fields[1]] == "" {
			names[fields[1]] = fields[0]
		}
	}
	return names
})

// ServiceName returns the name that /etc/services gives a port of "tcp" or
// "udp", or a well-known one where that file is missing; empty if there is
// none.
func ServiceName(network string, port int) string { return services()[strconv.Itoa(port)+"/"+network] }
