package main

import (
	"testing"
	"time"
)

func TestParseAge(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{"": 0, "90d": 90 * day, "1.5d": 36 * time.Hour, "12h": 12 * time.Hour} {
		if got, ok := parseAge(text); got != want || !ok {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"90", "d", "-1d", "0d", "0s", "1e99d", "soon", "NaNd"} {
		if got, ok := parseAge(text); ok {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "7B": 7, "64kB": 64e3, "500MB": 500e6, "20 GB": 20e9, "2TB": 2e12} {
		if got, ok := parseSize(text); got != want || !ok {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"0", "-1GB", "GB", "1.5GB", "99999999999TB", "20GiB", "much"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}
