using System.Text;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using MQTTnet;
using MQTTnet.Packets;
using MQTTnet.Protocol;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>The node's connection to its broker: subscribes, announces, publishes what is in the outbox, and comes back whenever it is lost.</summary>
/// <param name="options">Where and as whom.</param>
/// <param name="topics">The node's topics.</param>
/// <param name="outbox">What to publish, in order; a message leaves it when the broker has answered for it.</param>
/// <param name="announcement">Makes the messages that are published after each connect, before anything else.</param>
/// <param name="received">Takes what arrives, one message after the other; it must not wait. The broker is answered when the task that it returns has ended.</param>
/// <param name="log">Hears of losses and refusals.</param>
internal sealed partial class MqttConnection(
    MqttOptions options, NodeTopics topics, Outbox outbox, Func<IReadOnlyList<OutboundMessage>> announcement, Func<InboundMessage, Task> received, ILogger log) : IDisposable
{
    /// <summary>The user property of CONNECT that tells the embedded broker its own process.</summary>
    public const string InstanceProperty = "gemma4edge-instance";

    private readonly IMqttClient _client = BrokerConnection.NewClient();
    private readonly SubscriptionProbe _probe = new();
    private readonly SemaphoreSlim _lost = new(0);
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Channel<(MqttApplicationMessageReceivedEventArgs Message, Task Taken, long Connection)> _unanswered =
        Channel.CreateUnbounded<(MqttApplicationMessageReceivedEventArgs, Task, long)>(new UnboundedChannelOptions { SingleReader = true });

    private readonly ReconnectDelay _delay = new(TimeProvider.System);
    private readonly Namesake _namesake = new(options, topics, log);
    private readonly OutboxPublisher _publisher = new(outbox, log);
    private volatile bool _thrownOut;
    private long _reconnects;
    private long _connection;

    /// <summary>Where Home Assistant says that it has come up; null = nobody wants to know.</summary>
    public string? StatusTopic { get; init; }

    /// <summary>Answers another process that asks whether the node lives; it must not wait. Null = nothing does.</summary>
    public Action? Probed { get; init; }

    /// <summary>Names this process among those that may be online as the node.</summary>
    public string Instance => _namesake.Instance;

    /// <summary>The other process that is online as the node while this one stands back; null = there is none.</summary>
    public string? StandsBackFor => _namesake.StandsBackFor;

    /// <summary>How often the connection was lost and made again.</summary>
    public long Reconnects => Interlocked.Read(ref _reconnects);

    /// <summary>Ends when it was stopped; faulted when something broke that is not the network.</summary>
    public Task Completion { get; private set; } = Task.CompletedTask;

    /// <summary>The connection to publish on; null = there is none now.</summary>
    private IMqttClient? Way => _namesake.Guest ?? (outbox.IsConnected ? _client : null);

    /// <summary>Under which name a node connects.</summary>
    public static string ClientIdOf(string node) => $"gemma4edge-{node}";

    /// <summary>Starts to work: connected, or standing back for another process that is online as the node.</summary>
    /// <exception cref="BrokerUnavailableException">The broker cannot be reached, or refuses.</exception>
    public async Task StartAsync(CancellationToken cancellation)
    {
        _client.ApplicationMessageReceivedAsync += OnReceivedAsync;
        _client.DisconnectedAsync += OnDisconnectedAsync;
        Task answering = AnswerAsync(_stopping.Token); // already now: a broker whose deliveries wait for answers delivers no probe
        bool isTaken = await _namesake.IsAliveAsync(mayHaveJustCome: false, cancellation).ConfigureAwait(false);
        try
        {
            if (!isTaken)
            {
                await ConnectAsync(cancellation).ConfigureAwait(false);
                LogConnected(options.Address);
            }
        }
        catch (BrokerUnavailableException e) when (e.IsBrokenOff)
        {
            isTaken = await _namesake.IsAliveAsync(mayHaveJustCome: true, cancellation).ConfigureAwait(false);
            if (!isTaken)
            {
                throw;
            }
        }

        if (isTaken)
        {
            _lost.Release(); // it has started, and waits for its turn
        }

        if (options.PasswordFile is not null && !options.Address.Tls && !options.Address.IsLoopback)
        {
            LogReadable(options.Address);
        }

        Completion = RunAsync(answering, _stopping.Token);
    }

    /// <summary>Publishes one message at once, past the outbox, and returns when the broker has taken it (at QoS 0: when it was sent).</summary>
    /// <exception cref="BrokerUnavailableException">The broker is away, refuses, or went away before it answered; only then the message may have gone out.</exception>
    public async Task PublishAsync(OutboundMessage message, CancellationToken cancellation)
    {
        MqttClientPublishResult result;
        try
        {
            result = await OutboxPublisher.PublishAsync(_namesake.Guest ?? _client, message, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation))
        {
            throw new BrokerUnavailableException(options.Address.ToString(), e.GetBaseException().Message, "The message was not published, or nobody knows.", e);
        }

        if (result.ReasonCode >= MqttClientPublishReasonCode.UnspecifiedError)
        {
            throw new BrokerUnavailableException(options.Address.ToString(), $"it refuses a message on {message.Topic}: {result.ReasonCode}", "Allow the node to publish there.");
        }
    }

    /// <summary>Publishes what is left, then <paramref name="farewell"/>, and goes.</summary>
    public async Task StopAsync(OutboundMessage farewell, CancellationToken cancellation)
    {
        while (!outbox.IsEmpty && Way is { IsConnected: true } && !cancellation.IsCancellationRequested)
        {
            await Task.Delay(10, CancellationToken.None).ConfigureAwait(false);
        }

        bool standsBack = _namesake.Guest is not null;
        await _stopping.CancelAsync().ConfigureAwait(false);
        if (standsBack)
        {
            return; // the node stays online: the other process is
        }

        try
        {
            await _publisher.SendAsync(_client, farewell, cancellation).ConfigureAwait(false);
            await _client.DisconnectAsync(new MqttClientDisconnectOptions { SessionExpiryInterval = (uint)options.SessionExpirySeconds }, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation) || e is OperationCanceledException)
        {
            LogFarewellFailed(e.Message); // the will says it
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stopping.Cancel();
        _client.Dispose();
    }

    private async Task RunAsync(Task answering, CancellationToken stopping)
    {
        try
        {
            await (await Task.WhenAny(_broken.Task, _publisher.RunAsync(() => Way, stopping), KeepConnectedAsync(stopping), answering).ConfigureAwait(false)).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // stopped
        }
    }

    private async Task ConnectAsync(CancellationToken cancellation)
    {
        _publisher.Connected(await BrokerConnection.ConnectAsync(_client, options.Address, ConnectOptions(), cancellation).ConfigureAwait(false));
        try
        {
            var subscriptions = new NodeSubscriptions(_client, _probe, options, topics, log);
            await subscriptions.MakeAsync(cancellation).ConfigureAwait(false);
            if (StatusTopic is not null)
            {
                await subscriptions.AddStatusAsync(StatusTopic, cancellation).ConfigureAwait(false);
            }

            await _publisher.AnnounceAsync(_client, announcement(), cancellation).ConfigureAwait(false);
        }
        catch (BrokerUnavailableException)
        {
            await _publisher.SendAsync(_client, new OutboundMessage(topics.Availability, "offline"u8.ToArray()) { Retain = true }, cancellation).ConfigureAwait(false);
            throw;
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation))
        {
            throw new BrokerUnavailableException(options.Address.ToString(), e.Message, "It broke off while the node subscribed; its log says why. So it does when another process connects with the same Mqtt:Node.", e) { IsBrokenOff = true };
        }

        outbox.IsConnected = true;
        _delay.Connected();
    }

    private MqttClientOptions ConnectOptions() => BrokerConnection.Options(options.Address, ClientIdOf(topics.Node), options.Credentials)
        .WithUserProperty(InstanceProperty, Encoding.UTF8.GetBytes(Instance))
        .WithCleanStart(false)
        .WithSessionExpiryInterval((uint)options.SessionExpirySeconds)
        .WithWillTopic(topics.Availability)
        .WithWillPayload("offline")
        .WithWillQualityOfServiceLevel(MqttQualityOfServiceLevel.AtLeastOnce)
        .WithWillRetain()
        .Build();

    private async Task KeepConnectedAsync(CancellationToken stopping)
    {
        while (true)
        {
            await _lost.WaitAsync(stopping).ConfigureAwait(false);
            while (!_client.IsConnected || !outbox.IsConnected)
            {
                await Task.Delay(_delay.Next(_thrownOut), stopping).ConfigureAwait(false);
                try
                {
                    if (_client.IsConnected) // connected, but not subscribed
                    {
                        await _client.DisconnectAsync(new MqttClientDisconnectOptions { SessionExpiryInterval = (uint)options.SessionExpirySeconds }, stopping).ConfigureAwait(false);
                    }

                    if (!_delay.HasLasted)
                    {
                        await _namesake.WaitUntilGoneAsync(stopping).ConfigureAwait(false);
                    }

                    await ConnectAsync(stopping).ConfigureAwait(false);
                    Interlocked.Increment(ref _reconnects);
                    LogConnected(options.Address);
                }
                catch (Exception e) when (e is BrokerUnavailableException { IsRefusal: true } or ConfigurationException) // the latter: a file has changed for the worse meanwhile
                {
                    LogRefusal(e.Message);
                }
                catch (Exception e) when (e is BrokerUnavailableException || BrokerConnection.IsNetworkFailure(e, stopping))
                {
                    LogStillAway(e.Message);
                }
            }
        }
    }

    private Task OnReceivedAsync(MqttApplicationMessageReceivedEventArgs e)
    {
        e.AutoAcknowledge = false;
        try
        {
            bool isProbe = _probe.Takes(e.ApplicationMessage);
            if (isProbe && outbox.IsConnected) // before that it is the node's own
            {
                Probed?.Invoke();
            }

            Task taken = isProbe ? Task.CompletedTask : received(InboundMessage.From(e));
            _unanswered.Writer.TryWrite((e, taken, Interlocked.Read(ref _connection)));
        }
        catch (Exception bug) // the client library would swallow it; nothing here knows what broke, so the process must end
        {
            _broken.TrySetException(bug);
        }

        return Task.CompletedTask;
    }

    /// <summary>Answers the broker for what was taken, in order of receipt. The broker bounds how many wait here: the receive maximum.</summary>
    private async Task AnswerAsync(CancellationToken stopping)
    {
        while (true)
        {
            (MqttApplicationMessageReceivedEventArgs message, Task taken, long connection) = await _unanswered.Reader.ReadAsync(stopping).ConfigureAwait(false);
            await taken.ConfigureAwait(false);
            if (connection != Interlocked.Read(ref _connection))
            {
                continue; // of a connection that is gone: the broker sends it again, and its number may mean another message by now
            }

            try
            {
                await message.AcknowledgeAsync(stopping).ConfigureAwait(false);
            }
            catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, stopping))
            {
                // the same
            }
        }
    }

    private Task OnDisconnectedAsync(MqttClientDisconnectedEventArgs e)
    {
        if (e.ClientWasConnected && !_stopping.IsCancellationRequested)
        {
            outbox.IsConnected = false;
            Interlocked.Increment(ref _connection);
            _thrownOut = BrokerConnection.IsThrownOut(e);
            _publisher.Lost(e.Reason);
            if (e.Reason == MqttClientDisconnectReason.SessionTakenOver)
            {
                LogTakenOver(options.Address, topics.Node);
            }
            else
            {
                LogLost(options.Address, e.Reason, e.ReasonString ?? e.Exception?.Message ?? "without a reason, as when the broker dies or another process connects with the same Mqtt:Node");
            }

            _lost.Release();
        }

        return Task.CompletedTask;
    }

    [LoggerMessage(EventId = 1, Level = LogLevel.Information, Message = "Connected to {broker}")]
    private partial void LogConnected(BrokerAddress broker);

    [LoggerMessage(EventId = 2, Level = LogLevel.Warning, Message = "Lost {broker}: {reason} {detail}")]
    private partial void LogLost(BrokerAddress broker, MqttClientDisconnectReason reason, string detail);

    [LoggerMessage(EventId = 3, Level = LogLevel.Debug, Message = "{problem}")]
    private partial void LogStillAway(string problem);

    [LoggerMessage(EventId = 6, Level = LogLevel.Warning, Message = "The broker could not be told that the node goes offline: {reason}")]
    private partial void LogFarewellFailed(string reason);

    [LoggerMessage(EventId = 7, Level = LogLevel.Error, Message = "Another node has connected to {broker} as '{node}': give one of the two another name (Mqtt:Node)")]
    private partial void LogTakenOver(BrokerAddress broker, string node);

    [LoggerMessage(EventId = 8, Level = LogLevel.Error, Message = "The node stays offline: {problem}")]
    private partial void LogRefusal(string problem);

    [LoggerMessage(EventId = 10, Level = LogLevel.Warning, Message = "The password goes to {broker} in the clear: whoever hears the network can read it; use mqtts://")]
    private partial void LogReadable(BrokerAddress broker);
}
