package display

import (
	"fmt"
	"time"
)

// RoundTrip returns d in the unit that suits it: "0.46 ms", "3.07 s".
func RoundTrip(d time.Duration) string {
	if d < time.Second-5*time.Microsecond { // which would be "1000.00 ms"
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
