using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using MQTTnet;
using MQTTnet.Packets;
using MQTTnet.Protocol;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Takes part in pools: a second connection that subscribes to the shared topics while the node is free, and only then.</summary>
/// <remarks>
/// A broker deals out a shared subscription in turn, whether its members work, hang or are away (measured on Mosquitto). So a busy node is no member, and the session ends
/// with the connection. What was dealt to the node before its UNSUBSCRIBE came through is answered <c>queue_full</c> at once, by which its sender tries again.
/// </remarks>
/// <param name="options">Where, as whom, and which pools.</param>
/// <param name="state">Tells whether the node has nothing to do.</param>
/// <param name="outbox">Tells whether it could answer.</param>
/// <param name="received">Takes a job.</param>
/// <param name="log">Hears of losses and refusals.</param>
internal sealed partial class PoolConnection(MqttOptions options, NodeState state, Outbox outbox, Func<InboundMessage, Task> received, ILogger log) : IDisposable
{
    private const string Sender = "pool";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private readonly SubscriptionProbe _probe = new();
    private readonly IMqttClient _client = BrokerConnection.NewClient();
    private readonly Channel<bool> _look = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly TaskCompletionSource _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ReconnectDelay _delay = new(TimeProvider.System);
    private readonly CancellationTokenSource _stopping = new();
    private volatile bool _thrownOut;
    private Task _running = Task.CompletedTask;

    /// <summary>Faulted when something broke that is not the network; never ends otherwise.</summary>
    public Task Broken => _broken.Task;

    /// <summary>Begins to take part. The network's troubles are waited out.</summary>
    public void Start()
    {
        _client.ApplicationMessageReceivedAsync += OnReceivedAsync;
        _client.DisconnectedAsync += e =>
        {
            _thrownOut = BrokerConnection.IsThrownOut(e);
            Look();
            return Task.CompletedTask;
        };
        state.Changed += Look;
        outbox.ConnectionChanged += Look;
        _running = RunAsync(_stopping.Token);
    }

    /// <summary>Leaves: what was dealt to the node before is handed in, and no job arrives after it.</summary>
    public async Task StopAsync(CancellationToken cancellation)
    {
        state.Changed -= Look;
        outbox.ConnectionChanged -= Look;
        await _stopping.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(false);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(s_patience);
        try
        {
            await LeaveAsync(patience.Token).ConfigureAwait(false);
            await _probe.PassAsync(_client, new NodeTopics(options.Node).InboundProbes[^1], patience.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation) || e is OperationCanceledException)
        {
            LogAway(e.Message);
        }

        try
        {
            await _client.DisconnectAsync(new MqttClientDisconnectOptions(), cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation) || e is OperationCanceledException)
        {
            // gone already
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stopping.Cancel();
        _client.Dispose();
    }

    private void Look() => _look.Writer.TryWrite(true);

    private async Task RunAsync(CancellationToken stopping)
    {
        try
        {
            while (true)
            {
                while (!outbox.IsConnected) // another process may be online as the node, with this connection's name
                {
                    await _look.Reader.ReadAsync(stopping).ConfigureAwait(false);
                }

                try
                {
                    await BrokerConnection.ConnectAsync(_client, options.Address, ConnectOptions(), stopping).ConfigureAwait(false);
                    _delay.Connected();
                    await TakePartWhileFreeAsync(stopping).ConfigureAwait(false);
                }
                catch (Exception e) when (e is BrokerUnavailableException or ConfigurationException || BrokerConnection.IsNetworkFailure(e, stopping))
                {
                    LogAway(e.Message);
                }

                await Task.Delay(_delay.Next(_thrownOut), stopping).ConfigureAwait(false);
                if (_client.IsConnected)
                {
                    await _client.TryDisconnectAsync().ConfigureAwait(false);
                }
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // stopped
        }
        catch (Exception bug)
        {
            _broken.TrySetException(bug);
        }
    }

    /// <summary>Ends when the connection does.</summary>
    private async Task TakePartWhileFreeAsync(CancellationToken stopping)
    {
        bool isMember = false;
        while (_client.IsConnected)
        {
            if (isMember != (state.IsFree && outbox.IsConnected))
            {
                isMember = !isMember;
                await (isMember ? JoinAsync(stopping) : LeaveAsync(stopping)).ConfigureAwait(false);
                continue; // it may have changed meanwhile
            }

            await _look.Reader.ReadAsync(stopping).ConfigureAwait(false);
        }
    }

    private async Task JoinAsync(CancellationToken cancellation)
    {
        MqttClientSubscribeResult result = await _client.SubscribeAsync(
            new MqttClientSubscribeOptions
            {
                TopicFilters = [.. options.Pools.Select(pool => new MqttTopicFilter
                {
                    Topic = SharedTopic(pool),
                    QualityOfServiceLevel = MqttQualityOfServiceLevel.AtLeastOnce,
                    RetainAsPublished = true,
                })],
            },
            cancellation).ConfigureAwait(false);
        if (result.Items.FirstOrDefault(item => item.ResultCode > MqttClientSubscribeResultCode.GrantedQoS2) is { } refused)
        {
            LogRefused(refused.TopicFilter.Topic, refused.ResultCode);
        }
    }

    private Task<MqttClientUnsubscribeResult> LeaveAsync(CancellationToken cancellation) => _client.UnsubscribeAsync(
        new MqttClientUnsubscribeOptions { TopicFilters = [.. options.Pools.Select(SharedTopic)] }, cancellation);

    private MqttClientOptions ConnectOptions() => BrokerConnection.Options(options.Address, $"gemma4edge-{options.Node}-pool", options.Credentials)
        .WithCleanStart()
        .WithSessionExpiryInterval(0)
        .Build();

    private async Task OnReceivedAsync(MqttApplicationMessageReceivedEventArgs e)
    {
        if (_probe.Takes(e.ApplicationMessage) || !options.Pools.Any(pool => e.ApplicationMessage.Topic == NodeTopics.PoolRequest(pool)))
        {
            return;
        }

        try
        {
            await received(InboundMessage.From(e.ApplicationMessage, e.PacketIdentifier, Sender) with { Pool = true }).ConfigureAwait(false);
        }
        catch (Exception bug) // the client library would swallow it
        {
            _broken.TrySetException(bug);
        }
    }

    private static string SharedTopic(string pool) => $"$share/{pool}/{NodeTopics.PoolRequest(pool)}";

    [LoggerMessage(EventId = 31, Level = LogLevel.Debug, Message = "Not in its pools: {problem}")]
    private partial void LogAway(string problem);

    [LoggerMessage(EventId = 32, Level = LogLevel.Error, Message = "The broker refuses the subscription to {topic}: {code}; in Mosquitto's acl_file: pattern read gemma4edge/fleet/+/request")]
    private partial void LogRefused(string topic, MqttClientSubscribeResultCode code);
}
