using System.Text;
using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

public sealed class ReplySinkTests : IDisposable
{
    private readonly Outbox _outbox = new() { IsConnected = true };
    private readonly ScriptedModel _model = new();

    public void Dispose() => _model.Dispose();

    /// <summary>While the broker is away events get lost, but neither their numbers nor their text do.</summary>
    [Fact]
    public async Task BrokerAway_LeavesNoGap()
    {
        MqttReplySink sink = Sink(StreamMode.Sentence);
        sink.OnStart(0, 1, 0);
        sink.OnText("One. ");
        _outbox.IsConnected = false;
        sink.OnText("Two. ");
        sink.OnPrefill(1, 2);
        _outbox.IsConnected = true;
        sink.OnText("Three. ");
        _outbox.IsConnected = false;
        sink.OnText("Four.");
        sink.OnDone(new GenerationResult("all", [], FinishReason.Stop, default, default));

        List<JsonElement> events = await TakeAllAsync();
        Assert.Equal([0, 1, 2, 3], events.Select(e => e.GetProperty("seq").GetInt32()));
        Assert.Equal(["One. ", "Two. Three. "], events.Where(e => e.GetProperty("type").GetString() == "delta").Select(e => e.GetProperty("text").GetString()!));
        Assert.Equal(("done", "all"), (events[^1].GetProperty("type").GetString(), events[^1].GetProperty("text").GetString()));
    }

    [Fact]
    public async Task Tokens_AreJoined()
    {
        MqttReplySink sink = Sink(StreamMode.Token);
        string text = "";
        for (int i = 0; i < 1000; i++)
        {
            sink.OnText($"{i} ");
            text += $"{i} ";
        }

        sink.OnFailed(Failures.Cancelled);
        List<JsonElement> events = await TakeAllAsync();
        Assert.InRange(events.Count, 3, 100); // the first token at once, then what a tenth of a second brings, the rest before the end
        Assert.Equal(text, string.Concat(events.SkipLast(1).Select(e => e.GetProperty("text").GetString())));
        Assert.Equal("error", events[^1].GetProperty("type").GetString());
    }

    /// <summary>Whoever would send it again must know: a pool's sender does so by itself where it is not told.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task FailureAfterAnAct_SaysSo(bool acts)
    {
        MqttReplySink sink = Sink(StreamMode.None, isPool: true);
        if (acts)
        {
            sink.OnActing(new ToolCall("set_light", default));
        }

        sink.OnFailed(Failures.Interrupted);
        JsonElement error = Assert.Single(await TakeAllAsync()).GetProperty("error");
        Assert.Equal(("interrupted", acts), (error.GetProperty("code").GetString(), error.TryGetProperty("may_have_acted", out _)));
        Assert.Equal(acts, error.GetProperty("hint").GetString()!.Contains("before you send it again", StringComparison.Ordinal));
    }

    private MqttReplySink Sink(StreamMode mode, bool isPool = false)
    {
        var request = new PromptRequest { Id = "a1", Prompt = "hi", Sampling = SamplingOptions.Greedy, ReceivedTimestamp = 0 };
        var options = new ServiceOptions { Model = new ModelOptions { Path = "none" } };
        var state = new NodeState(options, SamplingOptions.Greedy, [], _model.Served.Info);
        var parsed = new ParsedRequest(new ReplyAddress("reply", null)) { Id = "a1", Request = request, Stream = mode };
        var ledger = new RequestLedger(null, TimeProvider.System);
        return new MqttReplySink(parsed, ledger.Receive("key", "a1", new InboundMessage("t", default)), ledger, new NodeTopics("kitchen"), _outbox, state) { IsPool = isPool };
    }

    private async Task<List<JsonElement>> TakeAllAsync()
    {
        List<JsonElement> all = [];
        while (!_outbox.IsEmpty)
        {
            OutboundMessage message = await _outbox.TakeAsync(TestContext.Current.CancellationToken);
            _outbox.Published();
            if (message.Topic == "reply")
            {
                all.Add(JsonDocument.Parse(Encoding.UTF8.GetString(message.Payload)).RootElement);
            }
        }

        return all;
    }
}
