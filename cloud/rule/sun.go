package rule

import (
	"math"
	"time"
)

// sunTime returns when the sun rises or sets on the day that noon is of, at a
// place in degrees north and east; ok is false on a day on which it does not.
// What counts is its upper edge, with the refraction of the air: 0.833° below
// the horizon.
//
// The formulas are those of the NOAA solar calculator, after Jean Meeus,
// "Astronomical Algorithms"; they are good to a minute between the polar
// circles for some centuries around 2000.
func sunTime(noon time.Time, latitude, longitude float64, rise bool) (at time.Time, ok bool) {
	at = noon
	for range 3 { // the sun moves on while the Earth turns
		day := midnight(noon)
		declination, equation := sunAt(at)
		hour, ok := hourAngle(latitude, declination)
		if !ok {
			return time.Time{}, false
		}
		if rise {
			hour = -hour
		}
		minutes := 720 - 4*longitude - equation + 4*hour
		at = day.Add(time.Duration(minutes * float64(time.Minute)))
	}
	return at.Round(time.Second), true
}

// midnight is the begin, in UTC, of the calendar day that t shows.
func midnight(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// sunAt returns the sun's declination, in degrees, and the equation of time,
// in minutes.
func sunAt(t time.Time) (declination, equation float64) {
	const j2000 = 946_728_000 // 2000-01-01 12:00 UTC
	century := float64(t.Unix()-j2000) / (36525 * 86400)
	mean := math.Mod(280.46646+century*(36000.76983+century*0.0003032), 360)
	anomaly := 357.52911 + century*(35999.05029-0.0001537*century)
	eccentricity := 0.016708634 - century*(0.000042037+0.0000001267*century)
	center := sin(anomaly)*(1.914602-century*(0.004817+0.000014*century)) +
		sin(2*anomaly)*(0.019993-0.000101*century) + sin(3*anomaly)*0.000289
	node := 125.04 - 1934.136*century
	longitude := mean + center - 0.00569 - 0.00478*sin(node)
	obliquity := 23 + (26+(21.448-century*(46.815+century*(0.00059-century*0.001813)))/60)/60 + 0.00256*cos(node)
	declination = degrees(math.Asin(sin(obliquity) * sin(longitude)))
	y := math.Pow(math.Tan(radians(obliquity/2)), 2)
	equation = 4 * degrees(y*sin(2*mean)-2*eccentricity*sin(anomaly)+4*eccentricity*y*sin(anomaly)*cos(2*mean)-
		y*y*sin(4*mean)/2-1.25*eccentricity*eccentricity*sin(2*anomaly))
	return declination, equation
}

// hourAngle is how far the Earth turns between noon and sunset, in degrees.
func hourAngle(latitude, declination float64) (float64, bool) {
	c := cos(90.833)/(cos(latitude)*cos(declination)) - math.Tan(radians(latitude))*math.Tan(radians(declination))
	if !(c >= -1 && c <= 1) { // not at the poles either
		return 0, false
	}
	return degrees(math.Acos(c)), true
}

func radians(degrees float64) float64 { return degrees * math.Pi / 180 }
func degrees(radians float64) float64 { return radians * 180 / math.Pi }
func sin(degrees float64) float64     { return math.Sin(radians(degrees)) }
func cos(degrees float64) float64     { return math.Cos(radians(degrees)) }
