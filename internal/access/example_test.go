package access_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"purr/internal/access"
)

// The rules of "--allow 10.0.0.0/8 --deny 10.0.0.13".
func Example() {
	var rules access.Rules
	if err := rules.Allow.Add("10.0.0.0/8"); err != nil {
		log.Fatal(err)
	}
	if err := rules.Deny.Add("10.0.0.13"); err != nil {
		log.Fatal(err)
	}
	if err := rules.Resolve(context.Background(), nil); err != nil {
		log.Fatal(err)
	}
	for _, client := range []string{"10.0.0.12", "::ffff:10.0.0.12", "10.0.0.13", "192.0.2.1"} {
		fmt.Println(client, rules.Permits(netip.MustParseAddr(client)))
	}
	// Output:
	// 10.0.0.12 true
	// ::ffff:10.0.0.12 true
	// 10.0.0.13 false
	// 192.0.2.1 false
}
