using Gemma4Edge.Runtime;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Watches heat and memory: computes with fewer threads when it is hot, and refuses new requests while it is far too hot or the machine is about to swap.</summary>
internal sealed partial class NodeGuard(ModelOptions options, ServedModel served, DeviceMonitor device, ILogger<NodeGuard> log) : BackgroundService
{
    /// <summary>How much cooler it must become before a measure against heat ends; else it would come and go.</summary>
    private const double CoolerBy = 5;

    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);
    private readonly int _threads = served.Info.Threads ?? 1;
    private volatile GenerationFailure? _refusal;
    private bool _isHot;
    private bool _isCritical;
    private bool _isShort;

    /// <summary>Why no request is taken now; null = they are.</summary>
    public GenerationFailure? Refusal => _refusal;

    /// <summary>Threads that compute now.</summary>
    public int Threads => _isHot ? Math.Max(1, _threads / 2) : _threads;

    /// <summary>What holds the node back, in a few words; null = nothing.</summary>
    public string? Hindrance => _refusal?.Code switch
    {
        FailureCode.Overheated => "overheated: no requests",
        FailureCode.NoMemory => "short of memory: no requests",
        _ => _isHot ? $"hot: {Threads} of {_threads} threads" : null,
    };

    /// <summary>Looks at the machine once and takes its measures.</summary>
    public void Look()
    {
        DeviceReadings readings = device.Readings;
        double celsius = readings.CpuCelsius ?? double.MinValue; // who has no thermometer is never hot
        bool wasHot = _isHot;
        _isHot = celsius >= options.HotCelsius - (_isHot ? CoolerBy : 0);
        if (_isHot != wasHot)
        {
            served.SetThreads(Threads);
            if (_isHot)
            {
                LogHot(celsius, options.HotCelsius, Threads, _threads);
            }
            else
            {
                LogCool(celsius, Threads);
            }
        }

        _isCritical = celsius >= options.CriticalCelsius - (_isCritical ? CoolerBy : 0);
        string? shortage = Shortage(readings);
        GenerationFailure? refusal = _isCritical ? Failures.Overheated(celsius) : shortage is not null ? Failures.NoMemory(shortage) : null;
        if (refusal?.Code != _refusal?.Code)
        {
            if (refusal is not null)
            {
                LogRefusing(refusal.Message);
            }
            else
            {
                LogAccepting();
            }
        }

        _refusal = refusal;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_interval);
        do
        {
            Look();
        }
        while (await timer.WaitForNextTickAsync(stoppingToken).ConfigureAwait(false));
    }

    /// <summary>What is short; null = nothing. Once short, a quarter more must be left, and half of the pressure be gone, before it is over.</summary>
    private string? Shortage(DeviceReadings readings)
    {
        long least = _isShort ? options.LeastAvailableBytes * 5 / 4 : options.LeastAvailableBytes;
        double most = _isShort ? options.MostMemoryPressure / 2 : options.MostMemoryPressure;
        string? shortage = readings.AvailableBytes is { } available && available < least
                ? FormattableString.Invariant($"{available >> 20} MiB are left, below Model:LeastAvailableMiB {options.LeastAvailableBytes >> 20}")
            : readings.MemoryPressure * 100 is { } pressure && pressure > most
                ? FormattableString.Invariant($"tasks waited for it in {pressure:F0} % of the last 10 seconds, above Model:MostMemoryPressure {options.MostMemoryPressure:F0}")
            : null;
        _isShort = shortage is not null;
        return shortage;
    }

    [LoggerMessage(EventId = 1, Level = LogLevel.Warning, Message = "The processor has {celsius:F0} °C (Model:HotCelsius is {hot:F0}): {threads} of {all} threads compute until it is cooler")]
    private partial void LogHot(double celsius, double hot, int threads, int all);

    [LoggerMessage(EventId = 2, Level = LogLevel.Information, Message = "The processor has {celsius:F0} °C: {threads} threads compute again")]
    private partial void LogCool(double celsius, int threads);

    [LoggerMessage(EventId = 3, Level = LogLevel.Warning, Message = "New requests are refused. {why}")]
    private partial void LogRefusing(string why);

    [LoggerMessage(EventId = 4, Level = LogLevel.Information, Message = "Requests are taken again")]
    private partial void LogAccepting();
}
