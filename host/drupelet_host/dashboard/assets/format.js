// Formatting of numbers; "–" stands for a value that is not known now.

export const UNKNOWN = "–";
const SHORT_FLAGS = {
  under_voltage: "voltage", frequency_capped: "capped", throttled: "throttled", soft_temperature_limit: "soft limit",
};

export function showMs(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return `${value.toFixed(value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;
}

export function showShare(value) {
  if (value === null) return UNKNOWN;
  return `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
}

export function showRate(value) {
  return value === null ? UNKNOWN : value.toFixed(1);
}

export function showCelsius(value) {
  return value === null || value === undefined ? UNKNOWN : `${value.toFixed(1)} °C`;
}

export function showBytes(count) {
  for (const [factor, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "KB"]]) {
    if (count >= factor) return `${(count / factor).toFixed(1)} ${unit}`;
  }
  return `${count} B`;
}

export function showThrottling(row) {
  if (row.throttling === null) return UNKNOWN;
  if (row.throttling.length) return row.throttling.map(flag => SHORT_FLAGS[flag] ?? flag).join(", ");
  return row.throttled_before ? "earlier" : "no";
}

/** Format a time as its local date and time of day in the order of ISO 8601: "2026-03-01 12:00:00". */
export function showTime(time) {
  const two = value => String(value).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export function showUptime(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds % 86400 / 3600);
  const minutes = Math.floor(seconds % 3600 / 60);
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : `${minutes} min`;
}
