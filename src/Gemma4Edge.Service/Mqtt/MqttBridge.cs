using System.Globalization;
using System.Text;
using System.Text.Json;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Between the broker and the queue: requests in, events out, and what the node tells about itself.</summary>
internal sealed partial class MqttBridge : IHostedService, IDisposable
{
    private static readonly TimeSpan s_stateInterval = TimeSpan.FromMilliseconds(100);
    private readonly ServedModel _served;
    private readonly NodeTopics _topics;
    private readonly RequestParser _parser;
    private readonly RecentRequests _recent;
    private readonly NodeState _state;
    private readonly ILogger<MqttBridge> _log;
    private readonly CancellationTokenSource _stopping = new();
    private readonly MqttConnection _connection;

    public MqttBridge(ServiceOptions options, ServedModel served, ILogger<MqttBridge> log, TimeProvider? time = null)
    {
        _served = served;
        _log = log;
        _topics = new NodeTopics(options.Mqtt.Node);
        _parser = new RequestParser(_topics, new ReplyTopic(_topics, options.Mqtt.ReplyPrefixes));
        _recent = new RecentRequests(time ?? TimeProvider.System);
        _state = new NodeState(options, served.Sampling, served.Tools, served.Info, served.Queue);
        _connection = new MqttConnection(options.Mqtt, _topics, Outbox, Announcement, OnReceived, log);
    }

    /// <summary>What waits to be published.</summary>
    public Outbox Outbox { get; } = new();

    /// <summary>How often the connection was lost and made again.</summary>
    public long Reconnects => _connection.Reconnects;

    /// <summary>Ends when it was stopped; faulted when something broke that is not the network.</summary>
    public Task Completion { get; private set; } = Task.CompletedTask;

    /// <summary>Takes over what another configuration says otherwise and can change while the service runs.</summary>
    public void Reload(ServiceOptions from, ServiceOptions to) => _state.Reload(from, to);

    /// <inheritdoc/>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        await _connection.StartAsync(cancellationToken).ConfigureAwait(false);
        Completion = RunAsync(_stopping.Token);
    }

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync().ConfigureAwait(false); // what still arrives is answered "interrupted", like what waits
        _served.Queue.EndWaiting(Failures.Interrupted);
        Outbox.TryAddPassing(new OutboundMessage(_topics.State, _state.ToPayload()) { Retain = true });
        await _connection.StopAsync(new OutboundMessage(_topics.Availability, "offline"u8.ToArray()) { Retain = true }, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stopping.Cancel();
        _connection.Dispose();
    }

    /// <summary>What is published after each connect. The last line is what others wait for: everything else stands by then.</summary>
    private IReadOnlyList<OutboundMessage> Announcement()
    {
        _state.Touch(); // an older state may still wait in the outbox: the newest must be the last
        return
        [
            new OutboundMessage(_topics.Info, Payloads.Info(_topics.Node, _served.Info, _served.Tools)) { Retain = true },
            new OutboundMessage(_topics.State, _state.ToPayload()) { Retain = true },
            new OutboundMessage(_topics.Availability, "online"u8.ToArray()) { Retain = true },
        ];
    }

    private async Task RunAsync(CancellationToken stopping)
    {
        try
        {
            await (await Task.WhenAny(_connection.Completion, PublishStateAsync(stopping)).ConfigureAwait(false)).ConfigureAwait(false);
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
            Outbox.TryAddPassing(new OutboundMessage(_topics.State, _state.ToPayload()) { Retain = true });
            await Task.Delay(s_stateInterval, stopping).ConfigureAwait(false);
        }
    }

    /// <summary>Takes what arrives; never waits.</summary>
    internal void OnReceived(InboundMessage message)
    {
        if (message.Retained)
        {
            LogRetained(message.Topic); // it would act again at every start
        }
        else if (!Outbox.HasRoom)
        {
            LogNoRoom(message.Topic);
        }
        else if (message.Topic == _topics.Request)
        {
            Accept(_parser.Parse(message, _state.Defaults), message);
        }
        else if (message.Topic == _topics.PromptSet)
        {
            ParsedRequest parsed = _parser.ParsePrompt(message, _state.Defaults);
            if (parsed.Request is { } request)
            {
                Outbox.TryAddPassing(new OutboundMessage(_topics.Prompt, Encoding.UTF8.GetBytes(request.Prompt!)) { Retain = true });
            }

            Accept(parsed, message);
        }
        else if (message.Topic == _topics.Cancel)
        {
            Command(message, "id", id => _served.Queue.Cancel(id is { } given ? given.Text() : null));
        }
        else if (message.Topic == _topics.SessionClear)
        {
            Command(message, "session", session => _served.ClearSessions(session is { } given ? RequestParser.CheckedSession(given) : null));
        }
        else if (_topics.ConfigKey(message.Topic) is { } key)
        {
            Configure(key, message);
        }
    }

    private void Accept(ParsedRequest parsed, InboundMessage message)
    {
        if (parsed.Failure is { } failure)
        {
            Refuse(parsed, failure);
            return;
        }

        // without an id and correlation data only the packet id tells a repeated delivery, and only where the broker says that it may be one
        parsed = parsed.DuplicateKey is null ? parsed with { DuplicateKey = $"{parsed.Reply.Topic}\npacket {message.PacketId}" } : parsed;
        string key = parsed.DuplicateKey!;
        if (key.Contains("\npacket ", StringComparison.Ordinal) && !message.Dup)
        {
            _recent.Forget(key);
        }

        switch (_recent.Admit(key, message.Payload.Span, out byte[]? final))
        {
            case Delivery.New:
                Enqueue(parsed, key);
                break;
            case Delivery.Running:
                LogDuplicate(parsed.Id!);
                break;
            case Delivery.Finished:
                LogDuplicate(parsed.Id!);
                Outbox.Add(new OutboundMessage(parsed.Reply.Topic, final!) { Correlation = parsed.Reply.Correlation, Retain = IsAnswer(parsed) });
                break;
            case Delivery.Conflict:
                Refuse(parsed, RequestParser.BadRequest($"request.id: '{parsed.Id}' named another request within the last 10 minutes."));
                break;
        }
    }

    private void Enqueue(ParsedRequest parsed, string key)
    {
        if (_stopping.IsCancellationRequested || !_state.Enabled)
        {
            _recent.Forget(key);
            Refuse(parsed, _stopping.IsCancellationRequested ? Failures.Interrupted : Failures.Disabled);
            return;
        }

        _state.RequestAccepted();
        if (!_served.Queue.TryAdd(new QueuedRequest(parsed.Request!, new MqttReplySink(parsed, _topics, Outbox, _state, _recent))))
        {
            _state.RequestEnded(parsed.Id!, null);
            _recent.Forget(key);
            Refuse(parsed, Failures.QueueFull(_served.Queue.Capacity), 1000 * _served.Metrics.Reader.Recent(MetricTable.RequestDuration)?.P50);
        }
        else if (_stopping.IsCancellationRequested)
        {
            _served.Queue.EndWaiting(Failures.Interrupted); // it slipped in behind the one that StopAsync does
        }
    }

    private void Refuse(ParsedRequest parsed, GenerationFailure failure, double? retryAfterMs = null)
    {
        _served.Metrics.RequestFailed(failure);
        byte[] payload = IsAnswer(parsed) ? Payloads.AnswerError(parsed.Id, failure, DateTimeOffset.UtcNow) : Payloads.Error(parsed.Id, 0, failure, retryAfterMs);
        Outbox.Add(new OutboundMessage(parsed.Reply.Topic, payload) { Correlation = parsed.Reply.Correlation, Retain = IsAnswer(parsed) });
        Outbox.TryAddPassing(new OutboundMessage(_topics.Event, Payloads.Object(json =>
        {
            json.WriteString("event_type", "failed");
            json.WriteString("id", parsed.Id);
            json.WriteString("code", Payloads.WireName(failure.Code));
        })));
    }

    /// <summary>Runs a command whose payload is a JSON object with at most one member that counts.</summary>
    private void Command(InboundMessage message, string member, Action<JsonAt?> run) => Try(message, () =>
    {
        using JsonDocument document = JsonDocument.Parse(message.Payload, new JsonDocumentOptions { MaxDepth = RequestParser.MaxDepth });
        JsonAt.Parse(document.RootElement, "payload", json =>
        {
            run(json.Find(member));
            return true;
        });
    });

    private void Configure(string key, InboundMessage message) => Try(message, () =>
    {
        string value = Encoding.UTF8.GetString(message.Payload.Span);
        switch (key)
        {
            case "enabled":
                _state.SetEnabled(OnOff(key, value));
                break;
            case "thinking":
                bool think = OnOff(key, value);
                _state.SetDefaults(defaults => defaults with { Think = think });
                break;
            case "max_tokens":
                int tokens = (int)Number(key, value, 1, _served.Info.Context);
                _state.SetDefaults(defaults => defaults with { MaxTokens = tokens });
                break;
            case "temperature":
                float temperature = (float)Number(key, value, 0, 10);
                _state.SetDefaults(defaults => defaults with { Sampling = defaults.Sampling with { Temperature = temperature } });
                break;
            default:
                throw new FormatException($"config/{key}/set: expected one of enabled, thinking, max_tokens, temperature.");
        }
    });

    /// <summary>Runs a command; a payload that cannot be read is answered on the node's response topic.</summary>
    private void Try(InboundMessage message, Action run)
    {
        try
        {
            if (message.Payload.Length > RequestParser.MaxPayloadBytes)
            {
                throw new FormatException($"The payload has {message.Payload.Length} bytes; at most {RequestParser.MaxPayloadBytes} are read.");
            }

            run();
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            LogBadCommand(message.Topic, e.Message);
            Refuse(new ParsedRequest(new ReplyAddress(_topics.Response, message.CorrelationData)), new GenerationFailure(FailureCode.BadRequest, $"{message.Topic}: {e.Message}", "The README lists what each topic takes."));
        }
    }

    private bool IsAnswer(ParsedRequest parsed) => parsed.Reply.Topic == _topics.Answer;

    private static bool OnOff(string key, string value) => value switch
    {
        "ON" => true,
        "OFF" => false,
        _ => throw new FormatException($"config/{key}/set: expected ON or OFF."),
    };

    private static double Number(string key, string value, double min, double max) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && number >= min && number <= max
            ? number
            : throw new FormatException(FormattableString.Invariant($"config/{key}/set: expected a number from {min} to {max}."));

    [LoggerMessage(EventId = 11, Level = LogLevel.Warning, Message = "Dropped a retained message on {topic}: commands must not be retained")]
    private partial void LogRetained(string topic);

    [LoggerMessage(EventId = 12, Level = LogLevel.Warning, Message = "Dropped a message on {topic}: too many replies wait for the broker")]
    private partial void LogNoRoom(string topic);

    [LoggerMessage(EventId = 13, Level = LogLevel.Information, Message = "Request {id} was delivered again and is not run twice")]
    private partial void LogDuplicate(string id);

    [LoggerMessage(EventId = 14, Level = LogLevel.Warning, Message = "{topic}: {problem}")]
    private partial void LogBadCommand(string topic, string problem);
}
