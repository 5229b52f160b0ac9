package main

import (
	"os"
	"time"
)

// openAtOnce is nothing: Windows keeps its pipes elsewhere.
const openAtOnce = 0

// changeTime is nothing that Windows tells.
func changeTime(*os.File) (time.Time, error) { return time.Time{}, nil }
