using System.Diagnostics;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.HomeAssistant;
using Gemma4Edge.Service.Http;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Systemd;
using Gemma4Edge.Service.Telemetry;
using Gemma4Edge.Service.Tools;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Service;

/// <summary>The whole service: model, queue, compute thread, MQTT. One per process or several, each with its own node name and broker.</summary>
public sealed partial class ServiceHost : IAsyncDisposable
{
    /// <summary>What the default memory budget leaves to the rest of the machine: an eighth, at least this.</summary>
    private const long LeastReserveBytes = 192 << 20;

    private readonly IHost _host;
    private readonly MqttBridge _bridge;
    private readonly Task _worker;
    private readonly ISystemdNotifier? _systemd;
    private readonly IDisposable? _owned;

    private ServiceHost(IHost host, Task worker, ISystemdNotifier? systemd, IDisposable? owned)
    {
        _host = host;
        _systemd = systemd;
        _bridge = host.Services.GetRequiredService<MqttBridge>();
        _worker = worker;
        _owned = owned;
    }

    /// <summary>Checks all that <see cref="Open"/> would stop at before it reads the weights: the collector's address, tools, the model's header, the memory; and whether the state directory can be used.</summary>
    /// <exception cref="ConfigurationException">An option does not fit the model or the machine; a file cannot be read.</exception>
    /// <exception cref="ModelFileException">The file is not a model that can be run.</exception>
    /// <exception cref="InsufficientMemoryException">No context fits into the memory budget.</exception>
    public static void Check(ServiceOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        OtlpExport.CheckEnvironment();
        _ = ToolFiles.Load(options.Tools);
        _ = Plan(options, new SystemFiles(options.Telemetry.SystemRoot ?? "/"));
        Explained(options.Model, () =>
        {
            _ = CpuKernels.Select(options.Model.Kernel);
            using LoadedModel model = LoadedModel.Open(options.Model.Path);
            _ = model.BytesPerTokenWith(options.Model.Head);
            return true;
        });
        try
        {
            if (options.Store.State is { } state)
            {
                StateFolder.Check(state);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw StateFolder.Unusable(options.Store.State, e);
        }
    }

    /// <summary>Opens the model and puts the service together; nothing listens yet.</summary>
    /// <param name="options">Checked options.</param>
    /// <param name="leastLogged">What is logged to stderr: this level and above.</param>
    /// <param name="systemd">Hears how the service does; null = systemd did not start it.</param>
    /// <exception cref="ConfigurationException">An option does not fit the model or the machine; a tool's file is wrong.</exception>
    /// <exception cref="ModelFileException">The file is not a model that can be run.</exception>
    public static ServiceHost Open(ServiceOptions options, LogLevel leastLogged = LogLevel.Information, ISystemdNotifier? systemd = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        OtlpExport.CheckEnvironment();
        systemd?.Notify(new ServiceState($"STATUS=loading model {options.Model.Path}"));
        IReadOnlyList<DeclaredTool> tools = ToolFiles.Load(options.Tools);
        (MemoryPlan plan, long budget) = Plan(options, new SystemFiles(options.Telemetry.SystemRoot ?? "/"));
        InferenceEngine engine = OpenEngine(options.Model with { Context = plan.Context, Kv = plan.Kv });
        engine.SelfTest();
        var metrics = new EngineMetrics(engine.Model.Name);
        var queue = new RequestQueue(options.Queue.Capacity, metrics);
        var worker = new InferenceWorker(engine, queue, metrics, options.Model.Sessions);
        var served = new ServedModel(queue, metrics, InfoOf(engine) with { PlannedBytes = plan.TotalBytes, BudgetBytes = budget })
        {
            Sampling = engine.DefaultSampling,
            Tools = [.. tools.Select(tool => tool.Definition)],
            Acting = ToolFiles.Acting(tools, options.Tools),
            Progress = () => queue.Looks + engine.Transformer.LayersRun,
            HasAnswered = true,
            SetThreads = threads => engine.ActiveThreads = threads,
            ClearSessions = worker.ClearSessions,
            Residency = () => MappedResidency.Of(engine.Model),
        };
        ServiceHost host = Build(options, served, worker.Start, worker.Dispose, worker.Completion, leastLogged, systemd, new Owned(worker, engine, queue, metrics));
        ILogger<ServiceHost> log = host._host.Services.GetRequiredService<ILogger<ServiceHost>>();
        if (options.Store is { State: { } state, Prefixes: > 0 and var prefixes })
        {
            engine.Prefixes = new PrefixStore(Path.Combine(state, "prefixes"), prefixes, engine, problem => LogPrefix(log, problem));
            worker.Expected = new PromptRequest { Id = "", DefaultSystem = options.Model.System, Tools = served.Tools, Think = options.Sampling.Thinking, Sampling = engine.DefaultSampling, ReceivedTimestamp = 0 };
        }

        if (served.Acting.Count == 0 && tools.Any(tool => tool.Action is not null))
        {
            LogNoToolActs(log);
        }

        return host;
    }

    /// <summary>Puts the service together around whatever takes requests from the queue.</summary>
    /// <param name="options">Checked options.</param>
    /// <param name="served">The queue and what stands behind it.</param>
    /// <param name="startWorker">Starts taking requests.</param>
    /// <param name="stopWorker">Stops, and ends the request that is running.</param>
    /// <param name="worker">Faulted when the worker breaks.</param>
    /// <param name="leastLogged">What is logged to stderr.</param>
    /// <param name="systemd">Hears how the service does.</param>
    /// <param name="owned">Disposed at the end.</param>
    internal static ServiceHost Build(
        ServiceOptions options, ServedModel served, Action startWorker, Action stopWorker, Task worker, LogLevel leastLogged, ISystemdNotifier? systemd = null, IDisposable? owned = null)
    {
        var device = new DeviceMonitor(new SystemFiles(options.Telemetry.SystemRoot ?? "/"), served.Residency, TimeProvider.System);
        NodeGuard? guard = null;
        served = served with { Refusal = () => guard?.Refusal, Hindrance = () => guard?.Hindrance, Throttled = () => device.Readings.Throttled };
        RequestLedger ledger = OpenLedger(options.Store.State);
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        // whatever the host would log of a failure is thrown, too
        builder.Logging.SetMinimumLevel(leastLogged).AddFilter("Microsoft", LogLevel.None);
        builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        _ = systemd is null ? builder.Logging.AddSimpleConsole(console => console.SingleLine = true) : builder.Logging.AddSystemdConsole(); // the latter gives the journal each line's level
        builder.Services.AddSingleton(options).AddSingleton(served);
        if (options.Mqtt.Broker == MqttOptions.Embedded)
        {
            builder.Services.AddHostedService(services =>
            {
                MqttBridge node = services.GetRequiredService<MqttBridge>();
                return new EmbeddedBroker(options.Mqtt, node.Receive, node.Instance);
            });
        }

        if (OtlpExport.IsConfigured) // before the bridge: it hears of nothing that was measured earlier
        {
            builder.Services.AddHostedService(services => new OtlpExport(options.Mqtt.Node, services.GetRequiredService<ILogger<OtlpExport>>()));
        }

        if (options.Http.Enabled) // before the bridge: who watches shall see that the broker is missing
        {
            var pulse = new ComputePulse(served, TimeProvider.System);
            builder.Services.AddHostedService(services => new HttpPort(
                options.Http, options.Mqtt.Node, served.Metrics.Reader, () => new Readiness(ModelMapped: true, served.HasAnswered, pulse.Beats, services.GetRequiredService<MqttBridge>().Outbox.IsConnected)));
        }

        // started in this order, stopped in the reverse: the bridge still tells how the worker's last request ended
        builder.Services.AddSingleton(ledger);
        builder.Services.AddSingleton<MqttBridge>();
        builder.Services.AddHostedService(services => services.GetRequiredService<MqttBridge>());
        builder.Services.AddHostedService(_ => new WorkerHost(startWorker, stopWorker));
        builder.Services.AddSingleton(services => new TelemetryPublisher(options, served, device, services.GetRequiredService<MqttBridge>()));
        builder.Services.AddHostedService(services => services.GetRequiredService<TelemetryPublisher>());
        builder.Services.AddHostedService(services => guard!);
        builder.Services.AddHostedService(services => new ModelHash(options.Model.Path, served, services.GetRequiredService<MqttBridge>()));
        builder.Services.AddHostedService(services => new BirthListener(services.GetRequiredService<MqttBridge>(), services.GetRequiredService<TelemetryPublisher>()));
        builder.Services.AddSingleton<ConfigurationReload>();
        IHost host = builder.Build();
        MqttBridge bridge = host.Services.GetRequiredService<MqttBridge>();
        guard = new NodeGuard(options.Model, served, device, host.Services.GetRequiredService<ILogger<NodeGuard>>());
        guard.Look(); // before the first request
        NodeMetrics.Observe(served.Metrics, device, served.Queue, () => bridge.Reconnects);
        served.Metrics.Observe(MetricTable.ComputeThreads, () => served.Info.Threads is null ? null : guard.Threads);
        ILogger<ServiceHost> log = host.Services.GetRequiredService<ILogger<ServiceHost>>();
        LogModel(log, served.Info.Model, served.Info.Kernel, served.Info.Threads, served.Info.Context, options.Mqtt.Node);
        if (served.Info is { PlannedBytes: { } planned, BudgetBytes: { } budget })
        {
            (string plannedText, string budgetText) = (ByteSize.Text(planned), ByteSize.Text(budget));
            LogMemory(log, served.Info.Context, served.Info.Kv, plannedText, budgetText);
        }

        if (!ledger.IsDurable)
        {
            LogNothingDurable(log);
        }

        return new ServiceHost(host, worker, systemd, new Owned(ledger, owned));
    }

    /// <summary>Starts everything. When it returns, the node is online, here or in another process that this one stands back for.</summary>
    /// <exception cref="BrokerUnavailableException">The broker cannot be reached or started.</exception>
    public async Task StartAsync(CancellationToken cancellation)
    {
        MqttOptions mqtt = _host.Services.GetRequiredService<ServiceOptions>().Mqtt;
        _systemd?.Notify(new ServiceState($"STATUS=connecting to {mqtt.Address}"));
        await _host.StartAsync(cancellation).ConfigureAwait(false);
        if (_systemd is { } systemd)
        {
            CancellationToken stopping = _host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping;
            stopping.Register(() => systemd.Notify(ServiceState.Stopping));
            systemd.Notify(ServiceState.Ready);
            _ = new Watchdog(systemd, _host.Services.GetRequiredService<ServedModel>(), () => Status(mqtt), Watchdog.TimeoutOfThisProcess()).RunAsync(stopping);
        }
    }

    /// <summary>Takes over a changed configuration, as far as that goes without a restart; the log says what changed, what did not, and why.</summary>
    /// <param name="read">Reads the configuration again.</param>
    public void Reload(Func<ServiceOptions> read)
    {
        long monotonicMicroseconds = Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000_000);
        _systemd?.Notify(new ServiceState(FormattableString.Invariant($"RELOADING=1\nMONOTONIC_USEC={monotonicMicroseconds}")));
        _host.Services.GetRequiredService<ConfigurationReload>().Run(read);
        _systemd?.Notify(ServiceState.Ready);
    }

    /// <summary>Stops: requests that run or wait end as interrupted, the node goes offline.</summary>
    public Task StopAsync(CancellationToken cancellation) => _host.StopAsync(cancellation);

    /// <summary>Starts, waits for Ctrl-C, systemd or <paramref name="cancellation"/>, and stops.</summary>
    /// <exception cref="BrokerUnavailableException">The broker could not be reached at the start. Later losses are waited out.</exception>
    public async Task RunAsync(CancellationToken cancellation)
    {
        await StartAsync(cancellation).ConfigureAwait(false);
        Task stopped = _host.WaitForShutdownAsync(cancellation);
        Task telemetry = _host.Services.GetRequiredService<TelemetryPublisher>().ExecuteTask!;
        Task first = await Task.WhenAny(stopped, _worker, _bridge.Completion, telemetry).ConfigureAwait(false);
        _host.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication();
        await stopped.ConfigureAwait(false);
        if (first.IsFaulted) // something broke that has no name: it ends the process
        {
            await first.ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_host is IAsyncDisposable host)
        {
            await host.DisposeAsync().ConfigureAwait(false);
        }

        _owned?.Dispose();
    }

    private string Status(MqttOptions mqtt)
    {
        ServedModel served = _host.Services.GetRequiredService<ServedModel>();
        string work = !served.Queue.Busy ? "idle" : served.Queue.Count is > 0 and var waiting ? $"busy, {waiting} waiting" : "busy";
        string state = _bridge.Outbox.IsConnected ? $"online, {work}"
            : _bridge.StandsBackFor is { } other ? $"{work}; stands back: {other} is online as {mqtt.Node}"
            : $"{work}; connecting to {mqtt.Address}";
        return served.Hindrance() is { } hindrance ? $"{state}; {hindrance}" : state;
    }

    /// <summary>The context and KV format that fit into the memory budget, and the budget.</summary>
    /// <exception cref="InsufficientMemoryException">None do.</exception>
    internal static (MemoryPlan Plan, long BudgetBytes) Plan(ServiceOptions options, SystemFiles files) => Explained(options.Model, () =>
    {
        using LoadedModel model = LoadedModel.Open(options.Model.Path);
        KvCache.Check(model.Config, options.Model.Kv);
        long total = MemoryLimits.Read(files).TotalBytes ?? GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        long budget = options.Model.MemoryBudget?.On(total) ?? total - Math.Max(LeastReserveBytes, total / 8);
        return (MemoryPlan.Choose(model, EngineOptionsOf(options.Model), options.Model.IsKvFree, options.Model.Sessions, budget), budget);
    });

    private static InferenceEngine OpenEngine(ModelOptions model) => Explained(model, () => InferenceEngine.Open(EngineOptionsOf(model)));

    private static EngineOptions EngineOptionsOf(ModelOptions model) => new()
    {
        Model = model.Path,
        Context = model.Context,
        Threads = model.Threads,
        Kernel = model.Kernel,
        Kv = model.Kv,
        Head = model.Head,
        Activations = model.Activations,
        SkipShared = model.SkipShared,
    };

    /// <summary>Opens something of a model; what does not fit is told with the key that asked for it.</summary>
    private static T Explained<T>(ModelOptions model, Func<T> open)
    {
        try
        {
            return open();
        }
        catch (ContextLengthException e)
        {
            throw new ConfigurationException($"Model:Context is {e.Context}: {e.Message}", e);
        }
        catch (KvFormatException e)
        {
            throw new ConfigurationException($"Model:Kv is '{model.Kv}': {e.Message}", e);
        }
        catch (HeadModeException e)
        {
            throw new ConfigurationException($"Model:Head is '{HeadModes.NameOf(model.Head)}': {e.Message}", e);
        }
        catch (ActivationFormatException e)
        {
            throw new ConfigurationException($"Model:Activations is '{ActivationFormats.NameOf(model.Activations)}': {e.Message}", e);
        }
        catch (Exception e) when (e is PlatformNotSupportedException or ArgumentException)
        {
            throw new ConfigurationException($"{(model.Kernel is null ? CpuKernels.EnvironmentVariable : "Model:Kernel")}: {e.Message}", e);
        }
    }

    private static RequestLedger OpenLedger(string? state)
    {
        try
        {
            _ = state is null ? null : Directory.CreateDirectory(state);
            return new RequestLedger(state, TimeProvider.System);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw StateFolder.Unusable(state, e);
        }
    }

    private static NodeInfo InfoOf(InferenceEngine engine) => new()
    {
        Model = engine.Model.Name,
        Context = engine.Context,
        Weights = engine.Model.Tensors.GroupBy(tensor => tensor.Format).MaxBy(format => format.Sum(tensor => tensor.Bytes))?.Key,
        Kv = engine.Kv.ToString(),
        Kernel = engine.Kernel,
        Threads = engine.Threads,
        BytesPerToken = engine.BytesPerToken,
    };

    [LoggerMessage(EventId = 1, Level = LogLevel.Information, Message = "Model {model}, kernel {kernel}, {threads} threads, context {context}, node {node}")]
    private static partial void LogModel(ILogger logger, string model, string? kernel, int? threads, int context, string node);

    [LoggerMessage(EventId = 3, Level = LogLevel.Warning, Message = "No tool acts: Tools:AllowTopics names no topic that tools may publish to; their calls go to whoever sent the request")]
    private static partial void LogNoToolActs(ILogger logger);

    [LoggerMessage(EventId = 13, Level = LogLevel.Warning, Message = "{problem}")]
    private static partial void LogPrefix(ILogger logger, string problem);

    [LoggerMessage(EventId = 9, Level = LogLevel.Information, Message = "Context {context} in {kv}: {planned} when all conversations are full, weights included; the memory budget is {budget}")]
    private static partial void LogMemory(ILogger logger, int context, string? kv, string planned, string budget);

    [LoggerMessage(EventId = 2, Level = LogLevel.Warning, Message = "Nothing is durable: requests that wait are lost when the process dies. Set Store:State to a folder, or start under systemd with StateDirectory=")]
    private static partial void LogNothingDurable(ILogger logger);

    private sealed class WorkerHost(Action start, Action stop) : IHostedService
    {
        public Task StartAsync(CancellationToken cancellationToken)
        {
            start();
            return Task.CompletedTask;
        }

        public Task StopAsync(CancellationToken cancellationToken) => Task.Run(stop, CancellationToken.None);
    }

    private sealed record Owned(params IDisposable?[] Parts) : IDisposable
    {
        public void Dispose() => Array.ForEach(Parts, part => part?.Dispose());
    }
}
