-- For each flight, the last leg on which its aircraft left New York by as_of, if at most 24 h ago,
-- and whether it can be back in time: legs flown elsewhere are not in the data, so the way back is
-- taken to be as long as the way there.
WITH timeline AS (
  SELECT
    tailnum,
    departed_at AS at,
    struct(departed_at, departure_delay, block_minutes, scheduled_arrival_at, arrived_at, arrival_delay) AS leg,
    CAST(NULL AS STRING) AS flight_id,
    CAST(NULL AS BIGINT) AS scheduled_at
  FROM flight_times
  WHERE tailnum IS NOT NULL AND departed_at IS NOT NULL
  UNION ALL
  SELECT tailnum, as_of, NULL, flight_id, scheduled_at FROM flight_times WHERE tailnum IS NOT NULL
),
latest AS (
  SELECT
    flight_id,
    at AS as_of,
    scheduled_at,
    -- The greatest struct is the latest leg, for its first field is the instant.
    max(leg) OVER (PARTITION BY tailnum ORDER BY at RANGE UNBOUNDED PRECEDING) AS leg
  FROM timeline
),
recent AS (
  SELECT *, leg.arrived_at <= as_of AS landed
  FROM latest
  WHERE flight_id IS NOT NULL AND leg.departed_at >= as_of - 86400
)
SELECT
  flight_id,
  (as_of - leg.departed_at) DIV 60 AS leg_age,
  leg.departure_delay AS leg_departure_delay,
  CASE WHEN landed THEN leg.arrival_delay END AS leg_arrival_delay,
  leg.block_minutes AS leg_block_minutes,
  -- Minutes between the aircraft's return and this departure: as scheduled, and as known by now.
  (scheduled_at - leg.scheduled_arrival_at) DIV 60 - leg.block_minutes AS scheduled_slack,
  (scheduled_at - CASE WHEN landed THEN leg.arrived_at ELSE leg.departed_at + leg.block_minutes * 60 END) DIV 60
    - leg.block_minutes AS expected_slack
FROM recent
