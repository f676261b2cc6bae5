-- For each flight, the last weather row of its origin at or before as_of, if at most 6 h old.
-- Hours are told apart by their UTC instant: the local hour repeats when summer time ends.
WITH observed AS (
  SELECT
    origin,
    unix_seconds(time_hour) AS at,
    temp,
    dewp,
    humid,
    wind_dir,
    CASE WHEN wind_speed < 200 THEN wind_speed END AS wind_speed,  -- one row says 1,048 mph
    wind_gust,
    precip,
    pressure,
    visib
  FROM weather
),
trended AS (
  SELECT
    *,
    sum(precip) OVER (PARTITION BY origin ORDER BY at RANGE BETWEEN 10800 PRECEDING AND CURRENT ROW) AS precip_3h,
    pressure - max(pressure) OVER exactly_3h_ago AS pressure_change_3h,
    visib - max(visib) OVER exactly_3h_ago AS visib_change_3h
  FROM observed
  WINDOW exactly_3h_ago AS (PARTITION BY origin ORDER BY at RANGE BETWEEN 10800 PRECEDING AND 10800 PRECEDING)
),
timeline AS (
  SELECT
    origin,
    at,
    struct(at, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib,
           precip_3h, pressure_change_3h, visib_change_3h) AS observation,
    CAST(NULL AS STRING) AS flight_id
  FROM trended
  UNION ALL
  SELECT origin, as_of, NULL, flight_id FROM flight_times
),
latest AS (
  SELECT
    flight_id,
    at AS as_of,
    -- The greatest struct is the latest observation, for its first field is the instant.
    max(observation) OVER (PARTITION BY origin ORDER BY at RANGE UNBOUNDED PRECEDING) AS seen
  FROM timeline
)
SELECT
  flight_id,
  seen.temp,
  seen.dewp,
  seen.humid,
  seen.wind_dir,
  seen.wind_speed,
  seen.wind_gust,
  seen.precip,
  seen.pressure,
  seen.visib,
  seen.precip_3h,
  seen.pressure_change_3h,
  seen.visib_change_3h
FROM latest
WHERE flight_id IS NOT NULL AND seen.at >= as_of - 6 * 3600
