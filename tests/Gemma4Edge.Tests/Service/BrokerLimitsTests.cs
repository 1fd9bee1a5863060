using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using MQTTnet;

namespace Gemma4Edge.Tests.Service;

/// <summary>Brokers that want or can less than a node would like.</summary>
public sealed class BrokerLimitsTests
{
    [Theory]
    [InlineData("retain_available false", "RetainNotSupported", "retain_available true")]
    [InlineData("max_qos 0", "QoSNotSupported", "max_qos 1")]
    public async Task WhatANodeCannotDoWithout_IsNamed(string limit, string reason, string cure)
    {
        using Mosquitto broker = Start(limit);
        var refused = await Assert.ThrowsAsync<BrokerUnavailableException>(() => TestNode.StartAsync(broker));
        Assert.Contains(reason, refused.Message, StringComparison.Ordinal);
        Assert.Contains(cure, refused.Message, StringComparison.Ordinal);
    }

    [Theory, InlineData("max_qos 1"), InlineData("max_inflight_messages 1"), InlineData("max_keepalive 10")]
    public async Task NarrowBroker_Suffices(string limit)
    {
        using Mosquitto broker = Start(limit);
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(i => outsider.PublishAsync("request", $$"""{"id":"{{i}}","prompt":"hi","stream":true}""", Outsider.Reply)));
        for (int done = 0; done < 4; done += (await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("type").GetString() == "done" ? 1 : 0)
        {
            // all of them
        }
    }

    /// <summary>Whoever says nothing for longer than the broker allows is thrown out.</summary>
    [Fact]
    public async Task KeepAlive_IsTheBrokers_WhereThatIsShorter()
    {
        using Mosquitto broker = Start("max_keepalive 10");
        using IMqttClient client = BrokerConnection.NewClient();
        var address = new BrokerAddress("127.0.0.1", broker.Port);
        await BrokerConnection.ConnectAsync(client, address, BrokerConnection.Options(address, "quiet", new BrokerCredentials()).Build(), TestContext.Current.CancellationToken);
        Assert.Equal(TimeSpan.FromSeconds(10), client.Options.KeepAlivePeriod);
    }

    /// <summary>The sender hears why, and the connection lasts.</summary>
    [Fact]
    public async Task AnswerThatTheBrokerCannotTake_EndsAsAnError()
    {
        using Mosquitto broker = Start("max_packet_size 3000");
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply, "gemma4edge/kitchen/availability", "gemma4edge/kitchen/answer");
        await using TestNode node = await TestNode.StartAsync(broker, change: options => options with { HomeAssistant = options.HomeAssistant with { Enabled = true } }); // its description is larger
        await outsider.NextAsync("availability", text => text == "online");
        string text = new('x', 2800);
        await outsider.PublishAsync("request", $$"""{"id":"large","prompt":"{{text}}"}""", Outsider.Reply, [7]);
        MqttApplicationMessage final = await outsider.NextAsync(Outsider.Reply);
        Assert.Equal([7], final.CorrelationData);
        JsonElement error = Outsider.Json(final);
        Assert.Equal(("large", "internal"), (error.GetProperty("id").GetString(), error.GetProperty("error").GetProperty("code").GetString()));
        Assert.Matches("it has 3[0-9]{3} bytes, and the broker takes 3000 in a packet", error.GetProperty("error").GetProperty("message").GetString());
        await outsider.PublishAsync("request", $$"""{"id":"large","prompt":"{{text}}"}""", Outsider.Reply, [8]); // again
        MqttApplicationMessage again = await outsider.NextAsync(Outsider.Reply);
        Assert.Equal([8], again.CorrelationData);
        Assert.Equal(Outsider.Text(final), Outsider.Text(again));
        await outsider.PublishAsync("request", """{"id":"small","prompt":"hi"}""", Outsider.Reply);
        Assert.Equal("done", (await outsider.NextJsonAsync()).GetProperty("type").GetString()); // and no offline or online before it
    }

    /// <summary>A program that lets everybody connect and says nothing, as a broker does whose machine hangs.</summary>
    [Fact]
    public async Task BrokerThatNeverAnswers_IsGivenUp()
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        int port = ((IPEndPoint)silent.LocalEndpoint).Port;
        long start = Stopwatch.GetTimestamp();
        var problem = await Assert.ThrowsAsync<BrokerUnavailableException>(() => TestNode.StartAsync(change: options => options with { Mqtt = options.Mqtt with { Broker = $"mqtt://127.0.0.1:{port}" } })
            .WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken));
        Assert.Contains("it has not answered within 10 s", problem.Message, StringComparison.Ordinal);
        Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 9, 40);
    }

    private static Mosquitto Start(string limit) => new(port => $"listener {port} 127.0.0.1\nallow_anonymous true\n{limit}\n");
}
