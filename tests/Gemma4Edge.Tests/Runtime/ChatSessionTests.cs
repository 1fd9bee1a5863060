using System.Diagnostics;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

/// <summary>Conversations with the demo model.</summary>
public sealed class ChatSessionTests : IDisposable
{
    private const string Home = "Smart home with these areas: kitchen, hallway, office, attic, bathroom, living room.";
    private const int Context = 800;
    private readonly InferenceEngine _engine = InferenceEngine.Open(new EngineOptions { Model = TestData.DemoModel, Kv = KvCacheFormat.F32, Context = Context, PrefillChunk = 32 });

    public void Dispose() => _engine.Dispose();

    [Fact]
    public void ACommand_BecomesAToolCall()
    {
        var sink = new RecordingSink();
        GenerationResult result = _engine.OpenSession().Generate(Command("turn on the kitchen light"), sink, CancellationToken.None);

        ToolCall call = Assert.Single(result.ToolCalls);
        Assert.Equal("set_light", call.Name);
        Assert.Equal("kitchen", call.Arguments.GetProperty("area").GetString());
        Assert.True(call.Arguments.GetProperty("on").GetBoolean());
        Assert.Equal(FinishReason.ToolCalls, result.FinishReason);
        Assert.Equal(sink.ToolCalls, result.ToolCalls);
        Assert.Equal(sink.PromptTokens, result.Usage.Input);
        Assert.Equal((result.Usage.Input, result.Usage.Input), sink.Prefill[^1]);
        Assert.Equal(0, sink.Ends);
        Assert.InRange(result.Timings.TtftMs, 0.01, result.Timings.TotalMs);
    }

    [Fact]
    public void TheNextRequest_RunsOnlyWhatIsNew_AndAnswersAlike()
    {
        ChatSession session = _engine.OpenSession();
        session.Generate(Command("turn on the kitchen light"), new RecordingSink(), CancellationToken.None);
        session.Clear();
        var again = new RecordingSink();
        GenerationResult second = session.Generate(Command("turn off the office light"), again, CancellationToken.None);
        GenerationResult fresh = _engine.OpenSession().Generate(Command("turn off the office light"), new RecordingSink(), CancellationToken.None);

        // system text and tools are the same, the sentence is not; "turn" and the markers before it are common too
        Assert.InRange(second.Usage.Cached, 100, second.Usage.Input - 1);
        Assert.Equal(0, fresh.Usage.Cached);
        Assert.Equal(second.Usage.Input - second.Usage.Cached, again.Prefill[^1].Total);
        Assert.Equal(fresh.ToolCalls[0].Arguments.GetRawText(), second.ToolCalls[0].Arguments.GetRawText());
    }

    [Fact]
    public void ASession_RemembersSystemToolsAndHistory()
    {
        ChatSession session = _engine.OpenSession();
        session.Generate(Command("hello"), new RecordingSink(), CancellationToken.None);
        GenerationResult next = session.Generate(Command("thanks") with { System = null, Tools = null }, new RecordingSink(), CancellationToken.None);

        Assert.Equal(["hello", "thanks"], session.History.Where(m => m.Role == ChatRole.User).Select(m => m.Text));
        Assert.Equal(4, session.History.Count);
        Assert.InRange(next.Usage.Cached, 100, next.Usage.Input);

        session.Clear();
        GenerationResult cleared = session.Generate(Command("thanks") with { System = null, Tools = null }, new RecordingSink(), CancellationToken.None);
        Assert.InRange(cleared.Usage.Input, 5, 15);
    }

    /// <summary>The default is for conversations that have no system text of their own, given as a field or as a message; what is given later takes its place.</summary>
    [Theory]
    [InlineData("nothing", null, "Be brief and kind.")]
    [InlineData("a field", null, Home)]
    [InlineData("a message", null, Home)]
    [InlineData("a message", "No jokes.", "No jokes.")]
    public void ASession_KeepsItsOwnSystemText(string first, string? later, string system)
    {
        ChatSession session = _engine.OpenSession();
        PromptRequest request = Command("hello") with { System = first == "a field" ? Home : null, DefaultSystem = "Be brief and kind." };
        session.Generate(
            first == "a message" ? request with { Prompt = null, Messages = [new ChatMessage(ChatRole.System, Home), new ChatMessage(ChatRole.User, "hello")] } : request, new RecordingSink(), CancellationToken.None);
        List<ChatMessage> said = [.. session.History.Where(message => message.Role != ChatRole.System)];
        GenerationResult next = session.Generate(request with { Prompt = "thanks", System = later }, new RecordingSink(), CancellationToken.None);

        PromptRequest whole = request with { Prompt = null, Messages = [.. said, new ChatMessage(ChatRole.User, "thanks")], System = system };
        Assert.Equal(_engine.OpenSession().Generate(whole, new RecordingSink(), CancellationToken.None).Usage.Input, next.Usage.Input);
    }

    [Fact]
    public void MaxTokens_EndsWithLength()
    {
        GenerationResult result = _engine.OpenSession().Generate(Command("turn on the kitchen light") with { MaxTokens = 3 }, new RecordingSink(), CancellationToken.None);
        Assert.Equal(FinishReason.Length, result.FinishReason);
        Assert.Equal(3, result.Usage.Output);
    }

    [Fact]
    public void APromptThatFillsTheContext_IsRefused_AndTheSessionGoesOn()
    {
        ChatSession session = _engine.OpenSession();
        session.Generate(Command("hello"), new RecordingSink(), CancellationToken.None);
        ContextOverflowException overflow = Assert.Throws<ContextOverflowException>(() =>
            session.Generate(Command(string.Join(' ', Enumerable.Repeat("kitchen", 600))), new RecordingSink(), CancellationToken.None));
        Assert.Equal(Context, overflow.Context);
        Assert.Equal(2, session.History.Count);
        Assert.NotEmpty(session.Generate(Command("thanks"), new RecordingSink(), CancellationToken.None).Text);
    }

    [Fact]
    public void TheContextsEnd_EndsTheAnswer()
    {
        // fill up to a few tokens below the end, then let it answer
        ChatSession session = _engine.OpenSession();
        int words = 20;
        GenerationResult result;
        do
        {
            string filler = string.Join(' ', Enumerable.Repeat("kitchen", words++));
            result = session.Generate(Command(filler) with { System = null, Tools = null, MaxTokens = 1, Messages = null }, new RecordingSink(), CancellationToken.None);
        }
        while (result.Usage.Input < Context - 200);

        GenerationResult last = Last(session);
        Assert.Equal(FinishReason.Length, last.FinishReason);
        Assert.Equal(Context, last.Usage.Input + last.Usage.Output - 1); // the last token sampled is not fed any more

        static GenerationResult Last(ChatSession session)
        {
            for (int words = 1; ; words++)
            {
                // an answer that does not stop by itself: sampled hot
                var request = new PromptRequest
                {
                    Id = "x",
                    Prompt = string.Join(' ', Enumerable.Repeat("light", words)),
                    Sampling = new SamplingOptions { Temperature = 10, Seed = (ulong)words },
                    MaxTokens = 1000,
                    ReceivedTimestamp = Stopwatch.GetTimestamp(),
                };
                GenerationResult result = session.Generate(request, new RecordingSink(), CancellationToken.None);
                if (result.FinishReason == FinishReason.Length)
                {
                    return result;
                }
            }
        }
    }

    [Fact]
    public void Cancellation_DuringPrefillAndDecode_LeavesTheHistory()
    {
        ChatSession session = _engine.OpenSession();
        foreach (int steps in (int[])[1, 100])
        {
            using var cancelled = new CancellationTokenSource();
            int seen = 0;
            var sink = new RecordingSink
            {
                OnProgress = () =>
                {
                    if (++seen == steps)
                    {
                        cancelled.Cancel();
                    }
                },
            };
            PromptRequest request = Command("hello") with { Sampling = new SamplingOptions { Temperature = 10, Seed = 1 }, MaxTokens = 400 };
            Assert.Throws<OperationCanceledException>(() => session.Generate(request, sink, cancelled.Token));
            Assert.Empty(session.History);
        }

        Assert.Equal("set_light", session.Generate(Command("turn on the kitchen light"), new RecordingSink(), CancellationToken.None).ToolCalls[0].Name);
    }

    [Fact]
    public void TheSameSeed_GivesTheSameAnswer()
    {
        PromptRequest request = Command("tell me something") with { Sampling = new SamplingOptions { Temperature = 2, Seed = 5 }, MaxTokens = 20 };
        string[] texts = [.. Enumerable.Range(0, 2).Select(_ => _engine.OpenSession().Generate(request, new RecordingSink(), CancellationToken.None).Text)];
        Assert.Equal(texts[0], texts[1]);
    }

    private static PromptRequest Command(string text) => new()
    {
        Id = "t",
        Prompt = text,
        System = Home,
        Tools = DemoTools.All,
        Sampling = SamplingOptions.Greedy,
        MaxTokens = 64,
        ReceivedTimestamp = Stopwatch.GetTimestamp(),
    };
}
