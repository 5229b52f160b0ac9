package sys

// Arrived returns false: Windows cannot report it without a read.
func Arrived(any) bool { return false }

// OpenNonblock is no flag: a Windows pipe never takes a file's place.
const OpenNonblock = 0
