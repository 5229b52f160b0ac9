package sys

// Arrived returns false: Windows cannot report it without a read.
func Arrived(any) bool { return false }

// OpenNofollow is no flag: there is none.
const OpenNofollow = 0

// OpenNonblock is no flag: a Windows pipe never takes a file's place.
const OpenNonblock = 0
