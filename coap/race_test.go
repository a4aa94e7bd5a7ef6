//go:build race

package coap_test

const raceEnabled = true
