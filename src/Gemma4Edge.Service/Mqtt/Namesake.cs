using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using MQTTnet;
using MQTTnet.Packets;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Another process that is online as this node: a broker lets one client of a name in and closes the other's connection, and Mosquitto does not say why.</summary>
/// <remarks>
/// Each process has a name of its own, which its retained <c>info</c> holds. A node that starts, or whose connection did not last, looks from a connection beside the node's
/// which process is online, and stands back until it is gone: the one that was there first goes on undisturbed. Whether it lives, its <c>state</c> tells, with which a node
/// that is online answers a <see cref="SubscriptionProbe"/>. One caller at a time; the properties on any thread.
/// </remarks>
internal sealed partial class Namesake(MqttOptions options, NodeTopics topics, ILogger log)
{
    private const string Nameless = "of an earlier version";
    private const int LooksBeforeItIsGone = 2; // it may be on its way back
    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan s_unanswered = TimeSpan.FromSeconds(5); // a connect that fails so late was not refused
    private static readonly TimeSpan s_announcement = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_sign = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_namelessSign = TimeSpan.FromSeconds(12); // an earlier version answers no probe; its telemetry comes every ten, unless it was told otherwise
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(100);
    private volatile IMqttClient? _guest;
    private bool _isTaken;
    private long _sign;
    private volatile string? _online;
    private volatile string? _announced;

    /// <summary>This process: its machine, and what no other has.</summary>
    public string Instance { get; } = $"{MqttOptions.NodeOf(Environment.MachineName[..Math.Min(Environment.MachineName.Length, 50)])}-{Guid.NewGuid().ToString("N")[..8]}";

    /// <summary>How long one that is online may answer no probe: it may be no more than a message that the broker has kept over a power cut.</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Connected while the node stands back, under another name: what it has let in before, it still answers.</summary>
    public IMqttClient? Guest => _guest;

    /// <summary>Whom the node stands back for; null = nobody.</summary>
    public string? StandsBackFor => _guest is null ? null : Other;

    private string? Other => _online == "online" && _announced != Instance ? _announced ?? Nameless : null;

    /// <summary>Whether another process is online and stirs, as what a broker has kept of one does not; false also where it cannot be told.</summary>
    /// <param name="mayHaveJustCome">It may not have said yet that it is online.</param>
    /// <param name="cancellation">Ends the look.</param>
    /// <exception cref="BrokerUnavailableException">Nobody listens at the broker's address, or answers in time.</exception>
    public async Task<bool> IsAliveAsync(bool mayHaveJustCome, CancellationToken cancellation)
    {
        _isTaken = false;
        await LookAsync(
            mayHaveJustCome,
            async _ =>
            {
                string other = Other ?? Nameless;
                TimeSpan patience = other == Nameless ? s_namelessSign : s_sign;
                LogListens(topics.Node, other, patience.TotalSeconds);
                for (long start = Stopwatch.GetTimestamp(); !_isTaken && Other is not null && Stopwatch.GetElapsedTime(start) < patience; _isTaken = Other is not null && Interlocked.Read(ref _sign) != 0)
                {
                    await Task.Delay(s_poll, cancellation).ConfigureAwait(false);
                }
            },
            cancellation).ConfigureAwait(false);
        return _isTaken;
    }

    /// <summary>Looks whether another process is online, and returns when none is, or when it cannot be told and none was seen before.</summary>
    /// <exception cref="BrokerUnavailableException">Nobody listens at the broker's address, or answers in time, or the look is refused while the node stands back: it still does.</exception>
    public async Task WaitUntilGoneAsync(CancellationToken cancellation)
    {
        while (!await LookAsync(mayHaveJustCome: true, client => StandBackAsync(client, cancellation), cancellation).ConfigureAwait(false) && _isTaken)
        {
            await DelayAsync(s_look, cancellation).ConfigureAwait(false); // that the look broke off says nothing about the other
        }

        _isTaken = false;
    }

    private async Task StandBackAsync(IMqttClient client, CancellationToken cancellation)
    {
        string other = Other ?? Nameless;
        LogStandsBack(other, topics.Node, options.Address);
        _isTaken = true;
        _guest = client;
        Interlocked.Exchange(ref _sign, Stopwatch.GetTimestamp());
        for (int gone = 0; gone < LooksBeforeItIsGone && Stopwatch.GetElapsedTime(Interlocked.Read(ref _sign)) < Silence; gone = Other is null ? gone + 1 : 0)
        {
            await DelayAsync(s_look, cancellation).ConfigureAwait(false);
            await client.PublishAsync(SubscriptionProbe.MessageOn(topics.InboundProbes[^1]), cancellation).ConfigureAwait(false);
        }

        if (Other is null)
        {
            LogGone(other, topics.Node);
        }
        else
        {
            LogSilent(other, Silence.TotalSeconds, topics.Node);
        }
    }

    private static Task DelayAsync(TimeSpan most, CancellationToken cancellation) => Task.Delay(most * (0.5 + (Random.Shared.NextDouble() / 2)), cancellation);

    /// <summary>Runs <paramref name="whenOnline"/> if another process is online, with a connection that hears of it.</summary>
    /// <returns>False where it could not be seen, or not to the end.</returns>
    private async Task<bool> LookAsync(bool mayHaveJustCome, Func<IMqttClient, Task> whenOnline, CancellationToken cancellation)
    {
        if (options.Broker == MqttOptions.Embedded)
        {
            return true; // it lets no other process in as its node
        }

        long start = Stopwatch.GetTimestamp();
        try
        {
            using IMqttClient client = BrokerConnection.NewClient();
            await ConnectAsync(client, cancellation).ConfigureAwait(false);
            if (Other is null && mayHaveJustCome)
            {
                await DelayAsync(s_announcement, cancellation).ConfigureAwait(false);
            }

            if (Other is not null)
            {
                await whenOnline(client).ConfigureAwait(false);
            }

            await client.DisconnectAsync(new MqttClientDisconnectOptions(), cancellation).ConfigureAwait(false);
            return true;
        }
        catch (BrokerUnavailableException e) when (_isTaken || e.InnerException?.GetBaseException() is SocketException || Stopwatch.GetElapsedTime(start) > s_unanswered)
        {
            throw; // the caller tries again: to connect now would wait as long, and find as little, or throw the other out
        }
        catch (Exception e) when (e is BrokerUnavailableException || BrokerConnection.IsNetworkFailure(e, cancellation))
        {
            LogUnknown(e.Message);
            return false;
        }
        finally
        {
            _guest = null;
        }
    }

    private async Task ConnectAsync(IMqttClient client, CancellationToken cancellation)
    {
        var probe = new SubscriptionProbe();
        (_online, _announced) = (null, null);
        Interlocked.Exchange(ref _sign, 0);
        client.ApplicationMessageReceivedAsync += e =>
        {
            if (!probe.Takes(e.ApplicationMessage))
            {
                Note(InboundMessage.From(e));
            }

            return Task.CompletedTask;
        };
        MqttClientOptions connect = BrokerConnection.Options(options.Address, $"gemma4edge-{topics.Node}-{Instance}", options.Credentials).WithCleanStart().WithSessionExpiryInterval(0).Build();
        await BrokerConnection.ConnectAsync(client, options.Address, connect, cancellation).ConfigureAwait(false);
        string[] heard = [topics.Info, topics.Availability, topics.State, topics.Telemetry];
        await client.SubscribeAsync(new MqttClientSubscribeOptions { TopicFilters = [.. heard.Select(topic => new MqttTopicFilter { Topic = topic })] }, cancellation).ConfigureAwait(false);
        await probe.PassAsync(client, topics.InboundProbes[^1], cancellation).ConfigureAwait(false);
    }

    private void Note(InboundMessage message)
    {
        if (!message.Retained)
        {
            Interlocked.Exchange(ref _sign, Stopwatch.GetTimestamp());
        }

        if (message.Topic == topics.Availability)
        {
            _online = System.Text.Encoding.UTF8.GetString(message.Payload.Span);
        }
        else if (message.Topic == topics.Info)
        {
            _announced = InstanceOf(message.Payload);
        }
    }

    private static string? InstanceOf(ReadOnlyMemory<byte> info)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(info);
            return document.RootElement.TryGetProperty("instance", out JsonElement instance) && instance.GetString() is { } name && MqttOptions.IsPoolName(name) ? name : null;
        }
        catch (Exception notInfo) when (notInfo is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    [LoggerMessage(EventId = 41, Level = LogLevel.Error, Message = "Another process, {other}, is online at {broker} as node '{node}': this one stands back until it is gone. Stop one of them, or give it another name (Mqtt:Node)")]
    private partial void LogStandsBack(string other, string node, BrokerAddress broker);

    [LoggerMessage(EventId = 42, Level = LogLevel.Information, Message = "{other} is no longer online: this process is node '{node}' again")]
    private partial void LogGone(string other, string node);

    [LoggerMessage(EventId = 43, Level = LogLevel.Debug, Message = "Whether another process has the node's name could not be seen: {problem}")]
    private partial void LogUnknown(string problem);

    [LoggerMessage(EventId = 44, Level = LogLevel.Information, Message = "Node '{node}' is said to be online as {other}: listening up to {seconds} s whether it lives")]
    private partial void LogListens(string node, string other, double seconds);

    [LoggerMessage(EventId = 45, Level = LogLevel.Information, Message = "{other} has answered nothing for {seconds} s: this process is node '{node}' again")]
    private partial void LogSilent(string other, double seconds, string node);
}
