using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Logs when the collector stops to take the metrics, and when it takes them again.</summary>
/// <param name="collector">How to name it.</param>
/// <param name="time">The clock of the pauses between two warnings.</param>
/// <param name="log">Gets the lines.</param>
/// <remarks>Thread-safe. A collector that comes and goes is warned of once in ten minutes.</remarks>
internal sealed partial class CollectorWatch(string collector, TimeProvider time, ILogger log)
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMinutes(10);
    private readonly Lock _lock = new();
    private bool _isWarned;
    private long? _lastWarning;

    /// <summary>It answered: with success, with a status of HTTP, or (gRPC) with a status in the headers at the end.</summary>
    public void Answered(HttpResponseMessage response)
    {
        if (!response.IsSuccessStatusCode)
        {
            Failed(string.Create(CultureInfo.InvariantCulture, $"it answered {(int)response.StatusCode} {response.ReasonPhrase}"));
        }
        else if (Trailer(response, "grpc-status") is { } status && status != "0")
        {
            Failed($"it answered with gRPC status {status} {Trailer(response, "grpc-message")}");
        }
        else
        {
            Succeeded();
        }
    }

    /// <summary>It could not be reached, or did not take the metrics.</summary>
    public void Failed(string reason)
    {
        lock (_lock)
        {
            if (!_isWarned && (_lastWarning is not { } last || time.GetElapsedTime(last) >= s_pause))
            {
                (_isWarned, _lastWarning) = (true, time.GetTimestamp());
                LogFailed(collector, reason.Trim().TrimEnd('.'));
            }
        }
    }

    private void Succeeded()
    {
        lock (_lock)
        {
            if (_isWarned)
            {
                _isWarned = false;
                LogWorks(collector);
            }
        }
    }

    private static string? Trailer(HttpResponseMessage response, string name) =>
        response.TrailingHeaders.TryGetValues(name, out IEnumerable<string>? values) || response.Headers.TryGetValues(name, out values) ? string.Join(' ', values) : null;

    [LoggerMessage(EventId = 51, Level = LogLevel.Warning, Message = "The collector {collector} does not take the metrics: {reason}. The node goes on and keeps trying; the next line about it comes when it works again")]
    private partial void LogFailed(string collector, string reason);

    [LoggerMessage(EventId = 52, Level = LogLevel.Information, Message = "The collector {collector} takes the metrics again")]
    private partial void LogWorks(string collector);
}
