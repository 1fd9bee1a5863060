using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.HomeAssistant;
using Gemma4Edge.Service.Tools;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Between the broker and the queue: requests in, events out, and what the node tells about itself.</summary>
internal sealed partial class MqttBridge : IHostedService, IDisposable
{
    private static readonly TimeSpan s_stateInterval = TimeSpan.FromMilliseconds(100);
    private readonly ServedModel _served;
    private volatile NodeInfo? _info;
    private readonly NodeTopics _topics;
    private readonly RequestLedger _ledger;
    private readonly RequestIntake _intake;
    private readonly Lock _receiving = new();
    private readonly TaskCompletionSource _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly NodeState _state;
    private readonly ILogger<MqttBridge> _log;
    private readonly CancellationTokenSource _stopping = new();
    private readonly MqttConnection _connection;
    private readonly PoolConnection? _pools;
    private readonly DeviceDiscovery? _discovery;
    private readonly Channel<bool> _births = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    public MqttBridge(ServiceOptions options, ServedModel served, RequestLedger ledger, ILogger<MqttBridge> log)
    {
        _served = served;
        _ledger = ledger;
        _log = log;
        _topics = new NodeTopics(options.Mqtt.Node);
        _state = new NodeState(options, served.Sampling, served.Tools, served.Info) { Throttled = served.Throttled };
        var parser = new RequestParser(_topics, new ReplyTopic(_topics, options.Mqtt.ReplyPrefixes));
        _intake = new RequestIntake(served, _topics, parser, ledger, Outbox, _state, log);
        bool isEmbedded = options.Mqtt.Broker == MqttOptions.Embedded; // its publish interceptor has handed the message in before the sender was answered
        _discovery = options.HomeAssistant.Enabled ? new DeviceDiscovery(options.HomeAssistant.Prefix, _topics, served.Info) { TelemetryIntervalSeconds = options.Telemetry.IntervalSeconds } : null;
        _connection = new MqttConnection(options.Mqtt, _topics, Outbox, Announcement, isEmbedded ? static _ => Task.CompletedTask : Receive, log) { StatusTopic = _discovery?.Status, Probed = _state.Touch };
        _pools = options.Mqtt.Pools.Count > 0 ? new PoolConnection(options.Mqtt, _state, Outbox, Receive, log) : null;
        SetTools(options.Tools, served.Tools, served.Acting);
        if (ledger.CutBytes > 0)
        {
            LogCut(ledger.CutBytes);
        }

        _intake.Resume();
    }

    /// <summary>What waits to be published.</summary>
    public Outbox Outbox { get; } = new();

    /// <summary>Has an item when Home Assistant has come up since it was read last.</summary>
    public ChannelReader<bool> HomeAssistantBirths => _births.Reader;

    /// <summary>How often the connection was lost and made again.</summary>
    public long Reconnects => _connection.Reconnects;

    /// <summary>Names this process among those that may be online as the node.</summary>
    public string Instance => _connection.Instance;

    /// <summary>The other process that is online as the node while this one stands back; null = there is none.</summary>
    public string? StandsBackFor => _connection.StandsBackFor;

    /// <summary>Ends when it was stopped; faulted when something broke that is not the network.</summary>
    public Task Completion { get; private set; } = Task.CompletedTask;

    /// <summary>Takes over what another configuration says otherwise and can change while the service runs.</summary>
    public void Reload(ServiceOptions from, ServiceOptions to, IReadOnlyList<DeclaredTool> tools)
    {
        _state.Reload(from, to);
        SetTools(to.Tools, [.. tools.Select(tool => tool.Definition)], ToolFiles.Acting(tools, to.Tools));
        if (_discovery is not null)
        {
            _discovery.TelemetryIntervalSeconds = to.Telemetry.IntervalSeconds;
        }

        AnnounceAgain();
    }

    /// <summary>Something of the state has changed that is not the bridge's.</summary>
    public void TouchState() => _state.Touch();

    /// <summary>Publishes the node's facts anew, now that more of them are known.</summary>
    public void Announce(NodeInfo info)
    {
        _info = info;
        Outbox.TryAddPassing(InfoMessage());
    }

    /// <summary>Publishes once more what the node tells about itself after it has connected.</summary>
    public void AnnounceAgain()
    {
        foreach (OutboundMessage message in Announcement())
        {
            Outbox.TryAddPassing(message);
        }
    }

    /// <inheritdoc/>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        await _connection.StartAsync(cancellationToken).ConfigureAwait(false);
        _pools?.Start();
        Completion = RunAsync(_stopping.Token);
    }

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        lock (_receiving)
        {
            _intake.Stop();
        }

        await (_pools?.StopAsync(cancellationToken) ?? Task.CompletedTask).ConfigureAwait(false);

        Outbox.TryAddPassing(new OutboundMessage(_topics.State, _state.ToPayload()) { Retain = true });
        await _connection.StopAsync(new OutboundMessage(_topics.Availability, "offline"u8.ToArray()) { Retain = true }, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stopping.Cancel();
        _pools?.Dispose();
        _connection.Dispose();
    }

    /// <summary>What is published after each connect. The last line is what others wait for: everything else stands by then.</summary>
    private IReadOnlyList<OutboundMessage> Announcement()
    {
        _state.Touch(); // an older state may still wait in the outbox: the newest must be the last
        OutboundMessage?[] messages =
        [
            _discovery is null ? null : new OutboundMessage(_discovery.Topic, _discovery.Payload()) { Retain = true },
            Outbox.LastRetained(_topics.Prompt), // a broker that was started anew may have lost them
            Outbox.LastRetained(_topics.Answer),
            InfoMessage(),
            new OutboundMessage(_topics.State, _state.ToPayload()) { Retain = true },
            new OutboundMessage(_topics.Availability, "online"u8.ToArray()) { Retain = true },
        ];
        return [.. messages.OfType<OutboundMessage>()];
    }

    /// <summary>Publishes what a tool's act is, and returns when the broker has taken it.</summary>
    private void SetTools(ToolsOptions options, IReadOnlyList<ToolDefinition> tools, IReadOnlyList<DeclaredTool> acting)
    {
        var context = new ActionContext(PublishAsync);
        ActingTools? run = acting.Count == 0 ? null : new ActingTools([.. acting.Select(tool => new ConfiguredTool(tool, options.DryRun, context, _served.Metrics, _log))])
        {
            MaxRounds = options.MaxRounds,
            Timeout = TimeSpan.FromSeconds(options.TimeoutSeconds),
        };
        _state.SetDefaults(defaults => defaults with { Tools = tools, Acting = run });
    }

    private async Task PublishAsync(OutboundMessage message, CancellationToken cancellation)
    {
        try
        {
            await _connection.PublishAsync(message, cancellation).ConfigureAwait(false);
        }
        catch (BrokerUnavailableException e)
        {
            throw new ToolActException(e.Message, e);
        }
    }

    private OutboundMessage InfoMessage() => new(_topics.Info, Payloads.Info(_topics.Node, _connection.Instance, _info ?? _served.Info, _state.Defaults.Tools)) { Retain = true };

    private async Task RunAsync(CancellationToken stopping)
    {
        try
        {
            await (await Task.WhenAny(_connection.Completion, _pools?.Broken ?? _broken.Task, _broken.Task, _ledger.Completion, PublishStateAsync(stopping)).ConfigureAwait(false)).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // stopped
        }
    }

    private async Task PublishStateAsync(CancellationToken stopping)
    {
        while (true)
        {
            await _state.WaitForChangeAsync(stopping).ConfigureAwait(false);
            bool isTold = Outbox.TryAddPassing(new OutboundMessage(_topics.State, _state.ToPayload()) { Retain = true });
            await Task.Delay(s_stateInterval, stopping).ConfigureAwait(false);
            if (!isTold)
            {
                _state.Touch(); // a retained state that is not the last one would stay so
            }
        }
    }

    /// <summary>Takes what arrives, and acts on it before it returns.</summary>
    /// <returns>Ends when what was let in survives the machine, and what was refused has been told: before that, nobody may be told that it arrived.</returns>
    internal Task Receive(InboundMessage message)
    {
        Task told;
        lock (_receiving) // the embedded broker's clients come on threads of their own
        {
            try
            {
                told = OnReceived(message);
            }
            catch (Exception bug) // the broker would close the sender's connection and go on; nothing here knows what broke, so the process must end
            {
                _broken.TrySetException(bug);
                throw;
            }
        }

        return message.Pool || _topics.IsInbound(message.Topic) ? Task.WhenAll(told, _ledger.DurableAsync()) : Task.CompletedTask;
    }

    private Task OnReceived(InboundMessage message)
    {
        if (message.Topic == _discovery?.Status)
        {
            _ = message.Payload.Span.SequenceEqual("online"u8) && _births.Writer.TryWrite(true);
            return Task.CompletedTask;
        }

        if (!message.Pool && !_topics.IsInbound(message.Topic))
        {
            return Task.CompletedTask; // the embedded broker hands in everything, the node's own state too
        }

        if (message.Retained)
        {
            LogRetained(message.Topic); // it would act again at every start
            return Task.CompletedTask;
        }

        return message.Topic == _topics.Request || message.Topic == _topics.PromptSet || message.Pool ? _intake.Accept(message)
            : message.Topic == _topics.Cancel ? Command(message, "id", id => Cancel(id is { } given ? RequestParser.CheckedId(given) : null))
            : message.Topic == _topics.SessionClear ? Command(
                message, "session", session => _served.ClearSessions(session is { } given ? RequestParser.CheckedSession(given) : null))
            : Configure(_topics.ConfigKey(message.Topic)!, message);
    }

    private void Cancel(string? id)
    {
        _ledger.Cancel(id); // first: it stays cancelled even if the process dies before it has ended
        _served.Queue.Cancel(id);
    }

    /// <summary>Runs a command whose payload is a JSON object with at most one member that counts.</summary>
    private Task Command(InboundMessage message, string member, Action<JsonAt?> run) => Try(message, () =>
    {
        using JsonDocument document = JsonDocument.Parse(message.Payload, new JsonDocumentOptions { MaxDepth = RequestParser.MaxDepth });
        JsonAt.Parse(document.RootElement, "payload", json =>
        {
            JsonAt? given = json.Find(member);
            if (given is null && json.Object().EnumerateObject().Any())
            {
                throw new FormatException($"expected {{\"{member}\":…}}, or {{}} for all."); // a template whose value was empty must not hit everybody
            }

            run(given);
            return true;
        });
    });

    private Task Configure(string key, InboundMessage message) => Try(message, () =>
    {
        string value = Encoding.UTF8.GetString(message.Payload.Span);
        switch (key)
        {
            case "enabled":
                _state.SetEnabled(OnOff(value));
                break;
            case "thinking":
                bool think = OnOff(value);
                _state.SetDefaults(defaults => defaults with { Think = think });
                break;
            case "max_tokens":
                int tokens = (int)Number(value, ConfigRanges.MaxTokens(_served.Info), isWhole: true);
                _state.SetDefaults(defaults => defaults with { MaxTokens = tokens });
                break;
            case "temperature":
                float temperature = (float)Number(value, ConfigRanges.Temperature);
                _state.SetDefaults(defaults => defaults with { Sampling = defaults.Sampling with { Temperature = temperature } });
                break;
            case "model" when value == _served.Info.Model:
                _state.Touch(); // whoever asked waits for the state
                break;
            case "model":
                throw new FormatException($"this node has the model {_served.Info.Model} and no other.");
            default:
                throw new FormatException($"{key}: expected one of enabled, thinking, max_tokens, temperature, model.");
        }
    });

    /// <summary>Runs a command; a payload that cannot be read is answered on the node's response topic.</summary>
    private Task Try(InboundMessage message, Action run)
    {
        try
        {
            if (message.Payload.Length > RequestParser.MaxPayloadBytes)
            {
                throw new FormatException($"The payload has {message.Payload.Length} bytes; at most {RequestParser.MaxPayloadBytes} are read.");
            }

            run();
            return Task.CompletedTask;
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            string problem = JsonFault.Of(e);
            LogBadCommand(message.Topic, problem);
            return _intake.Refuse(new ParsedRequest(new ReplyAddress(_topics.Response, message.CorrelationData)), new GenerationFailure(FailureCode.BadRequest, $"{message.Topic}: {problem}", "The README lists what each topic takes."));
        }
    }

    private static string Shown(string value) => value.Length <= 40 ? value : value[..40] + "…";

    private static bool OnOff(string value) => value switch
    {
        "ON" => true,
        "OFF" => false,
        _ => throw new FormatException($"expected ON or OFF, found '{Shown(value)}'."),
    };

    private static double Number(string value, (double Min, double Max) range, bool isWhole = false) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && number >= range.Min && number <= range.Max && !(isWhole && number % 1 != 0)
            ? number
            : throw new FormatException(FormattableString.Invariant($"expected a {(isWhole ? "whole " : "")}number from {range.Min} to {range.Max}, found '{Shown(value)}'."));

    [LoggerMessage(EventId = 11, Level = LogLevel.Warning, Message = "Dropped a retained message on {topic}: commands must not be retained")]
    private partial void LogRetained(string topic);

    [LoggerMessage(EventId = 12, Level = LogLevel.Warning, Message = "The journal ended with {count} bytes that are no whole record, as after a power cut; they are gone")]
    private partial void LogCut(long count);

    [LoggerMessage(EventId = 14, Level = LogLevel.Warning, Message = "{topic}: {problem}")]
    private partial void LogBadCommand(string topic, string problem);
}
