using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Telemetry;
using Gemma4Edge.Service.Tools;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Service;

/// <summary>Takes over a changed configuration while the service runs: what can change, changes; for the rest it says that it needs a restart.</summary>
/// <param name="start">What the service was started with.</param>
/// <param name="bridge">Has the values that requests get.</param>
/// <param name="telemetry">Has the interval.</param>
/// <param name="log">Hears what changed.</param>
internal sealed partial class ConfigurationReload(ServiceOptions start, MqttBridge bridge, TelemetryPublisher telemetry, ILogger<ConfigurationReload> log)
{
    /// <summary>The keys and sections that change without a restart; the README names them.</summary>
    private static readonly string[] s_live = ["Model:System", "Queue:DefaultDeadlineSeconds", "Sampling:", "Telemetry:IntervalSeconds", "Tools:"];

    private readonly Lock _lock = new();
    private ServiceOptions? _last;

    /// <summary>Reads the configuration again. A wrong one changes nothing.</summary>
    public void Run(Func<ServiceOptions> read)
    {
        lock (_lock)
        {
            ServiceOptions last = _last ?? start;
            ServiceOptions next;
            IReadOnlyList<DeclaredTool> tools;
            try
            {
                next = read();
                tools = ToolFiles.Load(next.Tools); // the files may have changed where their folder's name has not
            }
            catch (ConfigurationException e)
            {
                LogRefused(e.Message);
                return;
            }

            foreach (OptionValue value in next.Values)
            {
                bool live = s_live.Any(prefix => value.Key.StartsWith(prefix, StringComparison.Ordinal));
                if (value.Json == (live ? last : start).Values.LastOrDefault(old => old.Key == value.Key)?.Json)
                {
                    continue;
                }

                if (live)
                {
                    LogChanged(value.Key, value.Json ?? "-", value.Source);
                }
                else
                {
                    LogNeedsRestart(value.Key, value.Json ?? "-", value.Source);
                }
            }

            bridge.Reload(last, next, tools);
            telemetry.Interval = TimeSpan.FromSeconds(next.Telemetry.IntervalSeconds);
            _last = next;
            LogReloaded();
        }
    }

    [LoggerMessage(EventId = 41, Level = LogLevel.Error, Message = "The configuration was not taken over, the old one stays in force: {problem}")]
    private partial void LogRefused(string problem);

    [LoggerMessage(EventId = 42, Level = LogLevel.Information, Message = "{key} is now {value} ({source})")]
    private partial void LogChanged(string key, string value, string source);

    [LoggerMessage(EventId = 43, Level = LogLevel.Warning, Message = "{key} is {value} in the configuration ({source}) and needs a restart")]
    private partial void LogNeedsRestart(string key, string value, string source);

    [LoggerMessage(EventId = 44, Level = LogLevel.Information, Message = "The configuration was read again")]
    private partial void LogReloaded();
}
