"""Compute data/daylight-2025.csv: sunrise, sunset and length of day for 30 cities and every day of 2025.

Run without arguments it writes the file; with --check it only says whether the file is what it would write.

The formulas are those of the NOAA solar calculator (from Jean Meeus, Astronomical Algorithms, 1991), good to about a
minute between the polar circles. Sunrise and sunset are when the upper edge of the sun touches the horizon with
average refraction: its centre is then 90.833 degrees from the zenith. Places and times are facts, computed here, and
free of any licence.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import sys
from pathlib import Path
from typing import NamedTuple, Optional

YEAR = 2025
FILE = Path(__file__).resolve().parent / "data" / f"daylight-{YEAR}.csv"
HEADER = (
    "date",
    "month",
    "city",
    "country",
    "latitude",
    "longitude",
    "sunrise_utc",
    "sunset_utc",
    "day_length_minutes",
    "noon_elevation_degrees",
)
HORIZON = 90.833
UNIX_EPOCH_JULIAN_DAY = 2440587.5


class City(NamedTuple):
    """A place: degrees north and degrees east."""

    name: str
    country: str
    latitude: float
    longitude: float


class Sun(NamedTuple):
    """Where the sun stands at one instant: declination in degrees, equation of time in minutes."""

    declination: float
    equation_of_time: float


CITIES = (
    City("Anchorage", "United States", 61.22, -149.90),
    City("Auckland", "New Zealand", -36.85, 174.76),
    City("Bangkok", "Thailand", 13.76, 100.50),
    City("Beijing", "China", 39.90, 116.41),
    City("Berlin", "Germany", 52.52, 13.41),
    City("Bogota", "Colombia", 4.71, -74.07),
    City("Buenos Aires", "Argentina", -34.60, -58.38),
    City("Cairo", "Egypt", 30.04, 31.24),
    City("Cape Town", "South Africa", -33.92, 18.42),
    City("Dubai", "United Arab Emirates", 25.20, 55.27),
    City("Helsinki", "Finland", 60.17, 24.94),
    City("Honolulu", "United States", 21.31, -157.86),
    City("Istanbul", "Turkey", 41.01, 28.98),
    City("Jakarta", "Indonesia", -6.21, 106.85),
    City("Lagos", "Nigeria", 6.52, 3.38),
    City("Lima", "Peru", -12.05, -77.04),
    City("London", "United Kingdom", 51.51, -0.13),
    City("Mexico City", "Mexico", 19.43, -99.13),
    City("Moscow", "Russia", 55.76, 37.62),
    City("Mumbai", "India", 19.08, 72.88),
    City("Nairobi", "Kenya", -1.29, 36.82),
    City("New York", "United States", 40.71, -74.01),
    City("Paris", "France", 48.86, 2.35),
    City("Reykjavik", "Iceland", 64.15, -21.94),
    City("Sao Paulo", "Brazil", -23.55, -46.63),
    City("Singapore", "Singapore", 1.35, 103.82),
    City("Sydney", "Australia", -33.87, 151.21),
    City("Tokyo", "Japan", 35.68, 139.69),
    City("Tromso", "Norway", 69.65, 18.96),
    City("Ushuaia", "Argentina", -54.80, -68.30),
)


def sun_at(when: dt.datetime) -> Sun:
    """Declination and equation of time at an instant given in UTC."""
    julian_day = when.timestamp() / 86400 + UNIX_EPOCH_JULIAN_DAY
    t = (julian_day - 2451545.0) / 36525  # Julian centuries since 2000-01-01 12:00

    mean_longitude = math.radians((280.46646 + t * (36000.76983 + t * 0.0003032)) % 360)
    mean_anomaly = math.radians(357.52911 + t * (35999.05029 - 0.0001537 * t))
    eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t)
    centre = (
        math.sin(mean_anomaly) * (1.914602 - t * (0.004817 + 0.000014 * t))
        + math.sin(2 * mean_anomaly) * (0.019993 - 0.000101 * t)
        + math.sin(3 * mean_anomaly) * 0.000289
    )
    node = math.radians(125.04 - 1934.136 * t)
    longitude = mean_longitude + math.radians(centre - 0.00569 - 0.00478 * math.sin(node))
    tilt_seconds = 21.448 - t * (46.8150 + t * (0.00059 - t * 0.001813))
    tilt = math.radians(23 + (26 + tilt_seconds / 60) / 60 + 0.00256 * math.cos(node))

    y = math.tan(tilt / 2) ** 2
    equation = (
        y * math.sin(2 * mean_longitude)
        - 2 * eccentricity * math.sin(mean_anomaly)
        + 4 * eccentricity * y * math.sin(mean_anomaly) * math.cos(2 * mean_longitude)
        - 0.5 * y * y * math.sin(4 * mean_longitude)
        - 1.25 * eccentricity * eccentricity * math.sin(2 * mean_anomaly)
    )
    declination = math.asin(math.sin(tilt) * math.sin(longitude))
    return Sun(math.degrees(declination), 4 * math.degrees(equation))


def mean_noon(city: City, day: dt.date) -> dt.datetime:
    """Noon of the city's mean solar time on its calendar day, in UTC."""
    noon = dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.timezone.utc)
    return noon - dt.timedelta(minutes=4 * city.longitude)


def solar_noon(city: City, day: dt.date) -> dt.datetime:
    """When the sun is highest in the city on its calendar day, in UTC."""
    noon = mean_noon(city, day)
    return noon - dt.timedelta(minutes=sun_at(noon).equation_of_time)


def crossing(city: City, day: dt.date, side: int) -> Optional[dt.datetime]:
    """Sunrise (side -1) or sunset (side 1) in UTC, or None when the sun does not cross the horizon that day."""
    noon = mean_noon(city, day)
    latitude = math.radians(city.latitude)
    when = solar_noon(city, day)
    for _ in range(3):  # the sun moves on between noon and the crossing
        sun = sun_at(when)
        declination = math.radians(sun.declination)
        cosine = math.cos(math.radians(HORIZON)) / (math.cos(latitude) * math.cos(declination))
        cosine -= math.tan(latitude) * math.tan(declination)
        if not -1 < cosine < 1:
            return None
        hour_angle = math.degrees(math.acos(cosine))
        when = noon + dt.timedelta(minutes=side * 4 * hour_angle - sun.equation_of_time)
    return when


def to_minute(when: dt.datetime) -> dt.datetime:
    """The nearest full minute."""
    return (when + dt.timedelta(seconds=30)).replace(second=0, microsecond=0)


def row(city: City, day: dt.date) -> list[object]:
    """One line of the file. At the polar night and the midnight sun the two times are empty."""
    elevation = 90 - abs(city.latitude - sun_at(solar_noon(city, day)).declination)
    sunrise, sunset = crossing(city, day, -1), crossing(city, day, 1)
    if sunrise is None or sunset is None:
        times, minutes = ["", ""], 1440 if elevation > 0 else 0
    else:
        rounded = (to_minute(sunrise), to_minute(sunset))
        times = [when.strftime("%Y-%m-%dT%H:%MZ") for when in rounded]
        minutes = (rounded[1] - rounded[0]) // dt.timedelta(minutes=1)
    return [
        day.isoformat(),
        day.month,
        city.name,
        city.country,
        f"{city.latitude:.2f}",
        f"{city.longitude:.2f}",
        *times,
        minutes,
        f"{elevation:.1f}",
    ]


def make() -> bytes:
    """The whole file: 30 cities by 365 days, a header on top."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    first = dt.date(YEAR, 1, 1)
    days = (dt.date(YEAR + 1, 1, 1) - first).days
    for city in CITIES:
        writer.writerows(row(city, first + dt.timedelta(days=n)) for n in range(days))
    return out.getvalue().encode("ascii")


def main() -> int:
    """Write the file, or check it."""
    data = make()
    if "--check" in sys.argv[1:]:
        same = FILE.read_bytes() == data
        print(f"{FILE.name}: {'as computed' if same else 'DIFFERS from what is computed'}")
        return 0 if same else 1
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(data)
    print(f"{FILE.name}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
