-- One row per flight: its key, its instants in unix seconds (UTC), and what its schedule says.
--   as_of         the instant of prediction, ${horizon_hours} h before the scheduled departure;
--                 a later step may use a fact only if its instant is not after as_of
--   departed_at   when its departure delay becomes known; null if it never left
--   arrived_at    when its arrival delay becomes known; null if cancelled or diverted
WITH zoned AS (
  SELECT
    f.*,
    unix_seconds(f.time_hour) + f.minute * 60 AS scheduled_at,
    make_timestamp(f.year, f.month, f.day, f.sched_arr_time DIV 100, f.sched_arr_time % 100, 0) AS arrival_clock,
    -- The destinations that airports lacks (SJU, BQN, PSE, STT) all keep this zone.
    coalesce(a.tzone, 'America/Puerto_Rico') AS arrival_zone
  FROM flights f
  LEFT JOIN airports a ON a.faa = f.dest
),
scheduled AS (
  SELECT
    *,
    -- The table gives a clock time without a date: the first such time after the departure.
    CASE
      WHEN unix_seconds(to_utc_timestamp(arrival_clock, arrival_zone)) > scheduled_at
      THEN unix_seconds(to_utc_timestamp(arrival_clock, arrival_zone))
      ELSE unix_seconds(to_utc_timestamp(arrival_clock + INTERVAL 1 DAY, arrival_zone))
    END AS scheduled_arrival_at
  FROM zoned
)
SELECT
  concat_ws('-', date_format(make_date(year, month, day), 'yyyy-MM-dd'), carrier, flight, origin) AS flight_id,
  origin,
  carrier,
  dest,
  tailnum,
  distance,
  arr_delay,
  time_hour,
  year,
  hour * 60 + minute AS departure_minute,
  sched_arr_time DIV 100 * 60 + sched_arr_time % 100 AS arrival_minute,
  weekday(make_date(year, month, day)) AS weekday,
  (scheduled_arrival_at - scheduled_at) DIV 60 AS block_minutes,
  -- Delays are whole minutes: as integers their running sums stay exact in any order.
  CAST(dep_delay AS BIGINT) AS departure_delay,
  CAST(arr_delay AS BIGINT) AS arrival_delay,
  scheduled_at,
  scheduled_at - CAST(${horizon_hours} * 3600 AS BIGINT) AS as_of,
  scheduled_at + CAST(dep_delay AS BIGINT) * 60 AS departed_at,
  scheduled_arrival_at,
  scheduled_arrival_at + CAST(arr_delay AS BIGINT) * 60 AS arrived_at
FROM scheduled
