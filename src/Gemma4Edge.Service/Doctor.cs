using System.Globalization;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Telemetry;
using MQTTnet;

namespace Gemma4Edge.Service;

/// <summary>Looks at a machine and a configuration as the service will meet them.</summary>
/// <param name="files">The machine's /proc and /sys.</param>
public sealed class Doctor(SystemFiles files)
{
    private const long LeastDiskBytes = 64 << 20;
    private const long FewDiskBytes = 512 << 20;

    /// <summary>The checks that need no configuration: processor, heat, throttling, GPIO, clock.</summary>
    public IReadOnlyList<DoctorCheck> CheckMachine(ModelOptions limits)
    {
        ArgumentNullException.ThrowIfNull(limits);
        return [Processor(limits), Temperature(limits), Throttled(), Gpio(), Clock(DateTimeOffset.UtcNow, KernelClock.IsSynchronised())];
    }

    /// <summary>The checks of a configuration: memory against what the model needs, the broker, the state directory.</summary>
    public async Task<IReadOnlyList<DoctorCheck>> CheckServiceAsync(ServiceOptions options, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(options);
        return [Memory(options), await BrokerAsync(options.Mqtt, cancellation).ConfigureAwait(false), StateDirectory(options.Store.State)];
    }

    private static DoctorCheck Processor(ModelOptions options)
    {
        string cpu = DeviceReadings.CpuName ?? "a processor that has no name";
        try
        {
            string kernel = CpuKernels.Select(options.Kernel).Name;
            return kernel == "scalar"
                ? new("processor", CheckStatus.Warning, $"{cpu}, kernel {kernel}", "No vector instructions are used, which is slow: leave Model:Kernel unset, or run the binary made for this processor.")
                : new("processor", CheckStatus.Ok, $"{cpu}, kernel {kernel}, {WorkerPool.DefaultThreads} threads");
        }
        catch (Exception e) when (e is ArgumentException or PlatformNotSupportedException)
        {
            return new("processor", CheckStatus.Error, cpu, e.Message);
        }
    }

    private DoctorCheck Temperature(ModelOptions limits)
    {
        if (DeviceReadings.Read(files).CpuCelsius is not { } celsius)
        {
            return new("temperature", CheckStatus.Ok, "this machine tells none");
        }

        string value = string.Create(CultureInfo.InvariantCulture, $"{celsius:F1} °C");
        return celsius >= limits.CriticalCelsius ? new("temperature", CheckStatus.Error, value, "The service refuses requests until it is cooler: cool the device.")
            : celsius >= limits.HotCelsius ? new("temperature", CheckStatus.Warning, value, "The service computes with half of its threads until it is cooler: give the device a fan or a cooler place.")
            : new("temperature", CheckStatus.Ok, value);
    }

    private DoctorCheck Throttled()
    {
        const string Hint = "under_voltage: use the power supply made for the board; the others: cool it.";
        return Throttling.Read(files) switch
        {
            null => new("throttling", CheckStatus.Ok, "no firmware that tells"),
            { Now: { Count: > 0 } now } => new("throttling", CheckStatus.Warning, $"now: {string.Join(", ", now)}", Hint),
            { SinceStart: { Count: > 0 } since } => new("throttling", CheckStatus.Warning, $"since the start: {string.Join(", ", since)}", Hint),
            _ => new("throttling", CheckStatus.Ok, "none"),
        };
    }

    private DoctorCheck Gpio()
    {
        string[] chips = files.Find("/dev", "gpiochip*");
        string? locked = chips.FirstOrDefault(chip => !CanOpen(chip));
        return chips.Length == 0 ? new("gpio", CheckStatus.Ok, "no chip")
            : locked is not null ? new("gpio", CheckStatus.Warning, $"{locked} cannot be opened", "For tools that switch pins, add the service's user to the group gpio.")
            : new("gpio", CheckStatus.Ok, string.Join(", ", chips));
    }

    /// <summary>The clock as it stands, and whether a time service keeps it (null = the kernel does not tell).</summary>
    internal static DoctorCheck Clock(DateTimeOffset now, bool? isSynchronised)
    {
        const string Hint = "Without a time service (systemd-timesyncd, chrony) times in payloads may be wrong; see timedatectl.";
        string value = now.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);
        return now.Year < 2026 ? new("clock", CheckStatus.Error, value, "The clock is wrong: certificates will not be accepted. Set it, or start a time service.")
            : isSynchronised switch
            {
                true => new("clock", CheckStatus.Ok, $"{value}, synchronised"),
                false => new("clock", CheckStatus.Warning, $"{value}, not synchronised", Hint),
                null => new("clock", CheckStatus.Warning, $"{value}, not known to be synchronised", Hint),
            };
    }

    private DoctorCheck Memory(ServiceOptions options)
    {
        try
        {
            (MemoryPlan plan, long budget) = ServiceHost.Plan(options, files);
            string value = $"{ByteSize.Text(plan.TotalBytes)} of a budget of {ByteSize.Text(budget)}: context {plan.Context} in {plan.Kv}, {ByteSize.Text(plan.OwnBytes)} of its own and {ByteSize.Text(plan.ResidentBytes)} of weights";
            return MemoryLimits.Read(files).AvailableBytes is { } available && available < plan.TotalBytes
                ? new("memory", CheckStatus.Warning, value, $"Only {ByteSize.Text(available)} are available now: end other programs, or lower Model:Context or Model:Sessions.")
                : new("memory", CheckStatus.Ok, value);
        }
        catch (InsufficientMemoryException e)
        {
            return new("memory", CheckStatus.Error, "too little", e.Message);
        }
        catch (Exception e) when (e is ModelFileException or ConfigurationException)
        {
            return new("model", CheckStatus.Error, options.Model.Path, e.Message);
        }
    }

    private static async Task<DoctorCheck> BrokerAsync(MqttOptions mqtt, CancellationToken cancellation)
    {
        if (mqtt.Broker == MqttOptions.Embedded)
        {
            return new("broker", CheckStatus.Ok, $"embedded, port {mqtt.EmbeddedPort}");
        }

        try
        {
            using IMqttClient client = new MqttClientFactory().CreateMqttClient();
            await BrokerConnection.ConnectAsync(
                client, mqtt.Address, BrokerConnection.Options(mqtt.Address, $"gemma4edge-{mqtt.Node}-doctor", mqtt.Credentials).Build(), cancellation).ConfigureAwait(false);
            await client.DisconnectAsync(new MqttClientDisconnectOptions(), cancellation).ConfigureAwait(false);
            return new("broker", CheckStatus.Ok, $"{mqtt.Address} lets the node in", "");
        }
        catch (Exception e) when (e is BrokerUnavailableException or ConfigurationException)
        {
            return new("broker", CheckStatus.Error, mqtt.Broker, e.Message);
        }
    }

    private static DoctorCheck StateDirectory(string? state)
    {
        if (state is null)
        {
            return new("state", CheckStatus.Warning, "none", "Requests that wait are lost when the process dies: set Store:State to a folder.");
        }

        long free;
        try
        {
            StateFolder.Check(state);
            free = new DriveInfo(StateFolder.Nearest(state)).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new("state", CheckStatus.Error, state, $"{e.Message} Name a folder in Store:State that the service's user can write to.");
        }
        catch (InvalidDataException e)
        {
            return new("state", CheckStatus.Error, state, e.Message);
        }

        string value = $"{state}, {ByteSize.Text(free)} free";
        return free < LeastDiskBytes ? new("state", CheckStatus.Error, value, $"Requests need {ByteSize.Text(LeastDiskBytes)}: free some space.")
            : free < FewDiskBytes ? new("state", CheckStatus.Warning, value, "Free some space before it runs out.")
            : new("state", CheckStatus.Ok, value);
    }

    private static bool CanOpen(string device)
    {
        try
        {
            using var opened = new FileStream(device, FileMode.Open, FileAccess.ReadWrite);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
