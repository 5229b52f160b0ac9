package sys

// Arrived is always false: Windows cannot tell without reading.
func Arrived(any) bool { return false }

// OpenNonblock is no flag: a Windows pipe never takes a file's place.
const OpenNonblock = 0
