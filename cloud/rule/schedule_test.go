package rule

import (
	"strings"
	"testing"
	"time"
)

// TestSun: the almanac's times, to the minute that it gives.
func TestSun(t *testing.T) {
	for _, c := range []struct {
		place               string
		latitude, longitude float64
		zone, day, up, down string
	}{
		{"Berlin", 52.52, 13.405, "Europe/Berlin", "2024-06-21", "04:43", "21:33"},
		{"London", 51.507, -0.128, "Europe/London", "2024-12-21", "08:04", "15:53"},
		{"New York", 40.713, -74.006, "America/New_York", "2024-03-20", "06:59", "19:08"},
		{"Sydney", -33.869, 151.209, "Australia/Sydney", "2024-01-01", "05:48", "20:09"},
		{"Helsinki", 60.17, 24.938, "Europe/Helsinki", "2024-12-21", "09:24", "15:13"},
		{"Tromsø", 69.65, 18.956, "Europe/Oslo", "2024-06-21", "", ""},
		{"Tromsø", 69.65, 18.956, "Europe/Oslo", "2024-12-21", "", ""},
		{"North Pole", 90, 0, "UTC", "2024-06-21", "", ""},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		noon, err := time.ParseInLocation("2006-01-02 15", c.day+" 12", zone)
		if err != nil {
			t.Fatal(err)
		}
		for want, rise := range map[string]bool{c.up + " up": true, c.down + " down": false} {
			want, what, _ := strings.Cut(want, " ")
			at, ok := sunTime(noon, c.latitude, c.longitude, rise)
			if ok != (want != "") {
				t.Errorf("%s %s %s: %v, %v", c.place, c.day, what, at, ok)
			}
			if !ok || want == "" {
				continue
			}
			known, err := time.ParseInLocation("2006-01-02 15:04", c.day+" "+want, zone)
			if err != nil {
				t.Fatal(err)
			}
			if d := at.Sub(known); d < -90*time.Second || d > 90*time.Second {
				t.Errorf("%s %s %s: %s, the almanac has %s", c.place, c.day, what, at.In(zone).Format(time.TimeOnly), want)
			}
		}
	}
}

// TestSchedule: the instants after another.
func TestSchedule(t *testing.T) {
	for _, c := range []struct{ when, from, want string }{
		{"every: 15m", "2026-01-31T08:00:01Z", "08:15:00 08:30:00 08:45:00"},
		{"every: 15m", "2026-01-31T08:15:00Z", "08:30:00 08:45:00 09:00:00"},
		{"at: {time: 07:30, zone: UTC}", "2026-01-31T07:30:00Z", "Sun 07:30:00 Mon 07:30:00 Tue 07:30:00"},
		{"at: {time: 07:30, days: [sat, mon], zone: UTC}", "2026-01-31T07:29:59Z", "Sat 07:30:00 Mon 07:30:00 Sat 07:30:00"},
		{"at: {time: 00:00, zone: Europe/Berlin}", "2026-03-28T12:00:00Z", "Sat 23:00:00 Sun 22:00:00 Mon 22:00:00"},
		// The hour that summer time leaves out, and the one it has twice.
		{"at: {time: 02:30, zone: Europe/Berlin}", "2026-03-28T12:00:00Z", "Sun 01:30:00 Mon 00:30:00 Tue 00:30:00"},
		{"at: {time: 02:30, zone: Europe/Berlin}", "2026-10-24T12:00:00Z", "Sun 01:30:00 Mon 01:30:00 Tue 01:30:00"},
		{"sun: {event: sunset, latitude: 52.52, longitude: 13.405, zone: Europe/Berlin, offset: -30m}", "2024-06-21T19:00:00Z", "Fri 19:03:23 Sat 19:03:32 Sun 19:03:37"},
		{"sun: {event: sunset, latitude: 69.65, longitude: 18.956, zone: Europe/Oslo}", "2024-06-21T12:00:00Z", "25 Jul"},
		{"sun: {event: sunrise, latitude: 90, longitude: 0, zone: UTC}", "2024-06-21T12:00:00Z", ""},
	} {
		d, err := Parse([]byte("name: x\nwhen: {" + c.when + "}\nthen: [{message: m}]"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.When.schedule()
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		layout := "15:04:05"
		switch {
		case strings.HasPrefix(c.want, "25"):
			layout = "2 Jan"
		case len(c.want) > 0 && c.want[0] >= 'A':
			layout = "Mon 15:04:05"
		}
		for range max(len(strings.Fields(c.want))/len(strings.Fields(layout)), 1) {
			if at = s.next(at); at.IsZero() {
				break
			}
			got = append(got, at.UTC().Format(layout))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s from %s: %s\n want %s", c.when, c.from, text, c.want)
		}
	}
}
