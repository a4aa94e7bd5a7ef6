//go:build !race

package xmppd

// RaceEnabled says that the race detector is on, with which all is slower.
const RaceEnabled = false
