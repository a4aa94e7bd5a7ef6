//go:build !race

package xmppd_test

// raceEnabled says that the race detector is on, with which all is slower.
const raceEnabled = false
