-- One row per flight, cancelled ones too: its key, the target, and the features known at as_of.
WITH history AS (
  SELECT *
  FROM delay_history
  PIVOT (
    max(delay_2h) AS delay_2h,
    max(delay_24h) AS delay_24h,
    max(delay_7d) AS delay_7d,
    max(arrival_delay_4h) AS arrival_delay_4h,
    max(waiting) AS waiting,
    max(waiting_minutes) AS waiting_minutes
    FOR level IN ('origin' AS origin, 'segment' AS segment, 'carrier' AS carrier, 'dest' AS dest, 'aircraft' AS aircraft)
  )
)
SELECT
  f.flight_id,
  timestamp_seconds(f.scheduled_at) AS scheduled_departure,
  f.origin,
  f.carrier,
  f.dest,
  f.arr_delay,
  -- schedule
  f.departure_minute,
  CAST(f.arrival_minute AS INT) AS arrival_minute,
  f.weekday,
  CAST(f.block_minutes AS INT) AS block_minutes,
  f.distance,
  CAST(count(*) OVER (PARTITION BY f.origin, f.time_hour) AS INT) AS departures_in_hour,
  CAST(count(*) OVER (PARTITION BY f.origin, f.carrier, f.time_hour) AS INT) AS segment_departures_in_hour,
  -- aircraft
  f.year - p.year AS plane_age,
  p.seats,
  p.engines,
  CAST(l.leg_age AS INT) AS leg_age,
  CAST(l.leg_departure_delay AS INT) AS leg_departure_delay,
  CAST(l.leg_arrival_delay AS INT) AS leg_arrival_delay,
  CAST(l.leg_block_minutes AS INT) AS leg_block_minutes,
  CAST(l.scheduled_slack AS INT) AS scheduled_slack,
  CAST(l.expected_slack AS INT) AS expected_slack,
  h.aircraft_delay_24h,
  h.aircraft_delay_7d,
  h.aircraft_waiting_minutes,
  -- weather
  w.temp,
  w.dewp,
  w.humid,
  w.wind_dir,
  w.wind_speed,
  w.wind_gust,
  w.precip,
  w.pressure,
  w.visib,
  w.precip_3h,
  w.pressure_change_3h,
  w.visib_change_3h,
  -- delays of other flights
  h.origin_delay_2h,
  h.origin_delay_24h,
  h.origin_delay_7d,
  h.origin_waiting,
  h.origin_waiting_minutes,
  h.segment_delay_2h,
  h.segment_delay_24h,
  h.segment_delay_7d,
  h.segment_waiting,
  h.segment_waiting_minutes,
  h.carrier_delay_2h,
  h.carrier_delay_24h,
  h.carrier_delay_7d,
  h.carrier_waiting,
  h.carrier_waiting_minutes,
  h.dest_delay_2h,
  h.dest_delay_24h,
  h.dest_delay_7d,
  h.dest_arrival_delay_4h,
  h.dest_waiting,
  h.dest_waiting_minutes
FROM flight_times f
LEFT JOIN planes p ON p.tailnum = f.tailnum
LEFT JOIN weather_known w ON w.flight_id = f.flight_id
LEFT JOIN history h ON h.flight_id = f.flight_id
LEFT JOIN aircraft_leg l ON l.flight_id = f.flight_id
