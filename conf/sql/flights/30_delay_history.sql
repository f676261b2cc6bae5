-- What is known at as_of of the delays of other flights, on five levels: the flight's origin, its
-- segment (origin and carrier), its carrier, its destination and its aircraft. One row per flight and level.
--
-- Each flight enters a level's timeline as a few changes (+) and their reversal (-) when they
-- leave the window, and each flight also asks one question at its as_of. A running total then
-- holds every windowed sum at once, in one pass over sorted rows; a window frame that slides
-- over 7 days would add up thousands of rows again for each flight.
--   a departure   counts from departed_at on, for 2 h, 24 h and 7 d (both ends included)
--   an arrival    counts from arrived_at on, for 4 h (destinations only)
--   a waiting flight counts from scheduled_at until it leaves, at most for 4 h: those that never
--                 leave are cancelled, and nobody says when
WITH levels AS (
  SELECT
    flight_id,
    level,
    key,
    as_of,
    departed_at,
    departure_delay,
    -- Only the arrivals at the destination are asked for; the other levels need not sort them.
    CASE WHEN level = 'dest' THEN arrived_at END AS arrived_at,
    arrival_delay,
    scheduled_at,
    -- Null for a flight that leaves by its schedule: it never waits.
    CASE
      WHEN departed_at <= scheduled_at THEN NULL
      ELSE least(coalesce(departed_at, scheduled_at + 14400), scheduled_at + 14400)
    END AS waits_until
  FROM flight_times
  LATERAL VIEW stack(5,
    'origin', origin,
    'segment', concat(origin, ' ', carrier),
    'carrier', carrier,
    'dest', dest,
    'aircraft', tailnum
  ) AS level, key
  WHERE key IS NOT NULL
),
timeline AS (
  SELECT
    level, key, at, asked_by,
    n_2h, late_2h, n_24h, late_24h, n_7d, late_7d, n_landed, late_landed, n_waiting, waiting_since
  FROM levels
  LATERAL VIEW stack(9,
    departed_at,          NULL,       1L,  departure_delay,  1L,  departure_delay,  1L,  departure_delay,  0L, 0L,              0L, 0L,
    departed_at + 7201,   NULL,      -1L, -departure_delay,  0L,  0L,               0L,  0L,               0L, 0L,              0L, 0L,
    departed_at + 86401,  NULL,       0L,  0L,              -1L, -departure_delay,  0L,  0L,               0L, 0L,              0L, 0L,
    departed_at + 604801, NULL,       0L,  0L,               0L,  0L,              -1L, -departure_delay,  0L, 0L,              0L, 0L,
    arrived_at,           NULL,       0L,  0L,               0L,  0L,               0L,  0L,               1L, arrival_delay,   0L, 0L,
    arrived_at + 14401,   NULL,       0L,  0L,               0L,  0L,               0L,  0L,              -1L, -arrival_delay,  0L, 0L,
    nvl2(waits_until, scheduled_at, NULL),
                          NULL,       0L,  0L,               0L,  0L,               0L,  0L,               0L, 0L,              1L, scheduled_at,
    waits_until,          NULL,       0L,  0L,               0L,  0L,               0L,  0L,               0L, 0L,             -1L, -scheduled_at,
    as_of,                flight_id,  0L,  0L,               0L,  0L,               0L,  0L,               0L, 0L,              0L, 0L
  ) AS at, asked_by, n_2h, late_2h, n_24h, late_24h, n_7d, late_7d, n_landed, late_landed, n_waiting, waiting_since
  WHERE at IS NOT NULL
),
totals AS (
  SELECT
    asked_by AS flight_id,
    level,
    at AS as_of,
    sum(n_2h) OVER known AS n_2h,
    sum(late_2h) OVER known AS late_2h,
    sum(n_24h) OVER known AS n_24h,
    sum(late_24h) OVER known AS late_24h,
    sum(n_7d) OVER known AS n_7d,
    sum(late_7d) OVER known AS late_7d,
    sum(n_landed) OVER known AS n_landed,
    sum(late_landed) OVER known AS late_landed,
    sum(n_waiting) OVER known AS n_waiting,
    sum(waiting_since) OVER known AS waiting_since
  FROM timeline
  -- RANGE, not ROWS: a fact known at the very instant as_of counts, wherever the sort puts it.
  WINDOW known AS (PARTITION BY level, key ORDER BY at RANGE UNBOUNDED PRECEDING)
)
SELECT
  flight_id,
  level,
  late_2h / nullif(n_2h, 0) AS delay_2h,
  late_24h / nullif(n_24h, 0) AS delay_24h,
  late_7d / nullif(n_7d, 0) AS delay_7d,
  late_landed / nullif(n_landed, 0) AS arrival_delay_4h,
  n_waiting AS waiting,
  (n_waiting * as_of - waiting_since) / 60 AS waiting_minutes
FROM totals
WHERE flight_id IS NOT NULL
