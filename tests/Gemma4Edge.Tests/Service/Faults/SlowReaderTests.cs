using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Gemma4Edge.Tests.Service.Durability;

namespace Gemma4Edge.Tests.Service.Faults;

/// <summary>A subscriber that never reads what it has asked for.</summary>
public sealed class SlowReaderTests : IDisposable
{
    private const int Requests = 300;
    private readonly string _state = Directory.CreateTempSubdirectory("gemma4edge-slow-").FullName;

    public void Dispose() => Directory.Delete(_state, recursive: true);

    [Theory, InlineData(true), InlineData(false)]
    public async Task SubscriberThatNeverReads_DelaysNobody(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        int port = broker?.Port ?? Mosquitto.FreePort();
        using var node = NodeProcess.Start(broker?.Port, port, _state, Path.Combine(_state, "acts"));
        await using Outsider outsider = await Outsider.ConnectWhenUpAsync(port, Outsider.Reply, "gemma4edge/kitchen/availability");
        await outsider.NextAsync("availability", text => text == "online");
        using TcpClient deaf = SubscribeAndNeverRead(port, "gemma4edge/#");

        string text = new('x', 10_000); // 300 answers of it are 6 MB with the deltas: more than the sockets hold
        long before = node.AnonymousBytes();
        for (int i = 0; i < Requests; i++)
        {
            await outsider.PublishAsync("request", $$"""{"id":"{{i}}","prompt":"{{text}}","stream":true,"reply_to":"{{Outsider.Reply}}"}""");
            JsonElement done = await outsider.NextJsonAsync(Outsider.Reply, message => message.Contains("\"type\":\"done\"", StringComparison.Ordinal));
            Assert.Equal($"{i}", done.GetProperty("id").GetString());
        }

        long after = node.AnonymousBytes();
        TestContext.Current.TestOutputHelper!.WriteLine(FormattableString.Invariant($"{(mosquitto ? "Mosquitto" : "embedded")}: anonymous {before / 1e6:F1} MB before, {after / 1e6:F1} MB after {Requests} answers"));
        Assert.InRange(after, 0, before + (64L << 20)); // the embedded broker holds at most 4096 messages for it
    }

    private static TcpClient SubscribeAndNeverRead(int port, string topic)
    {
        var client = new TcpClient("127.0.0.1", port) { ReceiveBufferSize = 4096 };
        byte[] name = Encoding.ASCII.GetBytes("deaf");
        byte[] filter = Encoding.ASCII.GetBytes(topic);
        byte[] connect = [0x10, (byte)(12 + name.Length), 0, 4, (byte)'M', (byte)'Q', (byte)'T', (byte)'T', 4, 2, 0, 0, 0, (byte)name.Length, .. name];
        byte[] subscribe = [0x82, (byte)(5 + filter.Length), 0, 1, 0, (byte)filter.Length, .. filter, 1];
        client.Client.Send(connect);
        client.Client.Receive(new byte[4]); // CONNACK; nothing more is ever read
        client.Client.Send(subscribe);
        return client;
    }
}
