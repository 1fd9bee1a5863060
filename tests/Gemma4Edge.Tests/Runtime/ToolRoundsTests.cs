using System.Diagnostics;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

/// <summary>The demo model with tools that act.</summary>
public sealed class ToolRoundsTests : IDisposable
{
    private const string Home = "You are a home assistant. Areas: kitchen, living room, bedroom, bathroom, hallway, office, garage, garden.";
    private const string LightAndLock = "turn off the hallway light and lock the back door";
    private readonly InferenceEngine _engine = InferenceEngine.Open(new EngineOptions { Model = TestData.DemoModel, Kv = KvCacheFormat.F32, Context = 800 });
    private readonly FakeTool _light = new("set_light");
    private readonly FakeTool _lock = new("set_lock");

    public void Dispose() => _engine.Dispose();

    [Fact]
    public void ACall_Acts_AndTheModelTellsOfIt()
    {
        var sink = new RecordingSink();
        ChatSession session = _engine.OpenSession();
        GenerationResult result = session.Generate(Command("turn on the kitchen light"), sink, CancellationToken.None);

        ToolCall call = Assert.Single(_light.Ran);
        Assert.Equal("""{"area":"kitchen","on":true}""", call.Arguments.GetRawText());
        Assert.Equal([call], sink.Acting);
        Assert.Equal([call], result.ToolCalls);
        Assert.Equal(new ToolResult("ok", Ok: true), Assert.Single(result.ToolResults));
        Assert.Equal(result.ToolResults, sink.ToolResults);
        Assert.Equal("The kitchen light is now on.", result.Text);
        Assert.Equal(FinishReason.Stop, result.FinishReason);

        // both rounds count, and the second one ran little more than the tool's answer
        Assert.True(result.Usage.Input > 2 * sink.PromptTokens);
        Assert.InRange(result.Usage.Input - result.Usage.Cached - sink.PromptTokens, 1, 30);
        Assert.InRange(result.Timings.TtftMs, 0.01, result.Timings.TotalMs);
        Assert.Equal([ChatRole.User, ChatRole.Assistant, ChatRole.Tool, ChatRole.Assistant], session.History.Select(message => message.Role));

        // the conversation goes on from there
        session.Generate(Command("make it blue"), new RecordingSink(), CancellationToken.None);
        Assert.Equal("""{"area":"kitchen","color":"blue"}""", _light.Ran[^1].Arguments.GetRawText());
    }

    /// <summary>What the loop feeds the model is what the template makes of the whole conversation: a sender that ran the tools itself gets the same answer.</summary>
    [Fact]
    public void Rounds_AnswerAsTheSendersOwnLoopDoes()
    {
        GenerationResult looped = _engine.OpenSession().Generate(Command(LightAndLock), new RecordingSink(), CancellationToken.None);

        ChatSession session = _engine.OpenSession();
        GenerationResult first = session.Generate(Command(LightAndLock) with { Acting = null }, new RecordingSink(), CancellationToken.None);
        Assert.Empty(first.ToolResults);
        Assert.Equal(FinishReason.ToolCalls, first.FinishReason);
        PromptRequest answered = Command("") with
        {
            Prompt = null,
            Messages = [.. session.History, .. first.ToolCalls.Select(call => new ChatMessage(ChatRole.Tool, "ok") { Name = call.Name })],
        };
        GenerationResult second = session.Generate(answered, new RecordingSink(), CancellationToken.None);

        Assert.Equal(["set_light", "set_lock"], looped.ToolCalls.Select(call => call.Name));
        Assert.Equal(2, looped.ToolResults.Count);
        Assert.NotEmpty(second.Text);
        Assert.Equal(second.Text, looped.Text);
        Assert.Equal(first.Usage.Output + second.Usage.Output, looped.Usage.Output);
        Assert.Equal(first.Usage.Input + second.Usage.Input, looped.Usage.Input);
    }

    [Fact]
    public void OneCallThatIsNotRunHere_AndNothingOfTheTurnActs()
    {
        GenerationResult result = _engine.OpenSession().Generate(Command(LightAndLock) with { Acting = new ActingTools([_light]) }, new RecordingSink(), CancellationToken.None);
        Assert.Equal(2, result.ToolCalls.Count);
        Assert.Empty(result.ToolResults);
        Assert.Empty(_light.Ran);
        Assert.Equal(FinishReason.ToolCalls, result.FinishReason);
    }

    [Fact]
    public void AWrongCall_DoesNotAct_TheModelIsTold_TheOtherCallActs()
    {
        var picky = new FakeTool("set_light") { Refuse = _ => "area: expected one of attic" };
        var sink = new RecordingSink();
        ChatSession session = _engine.OpenSession();
        GenerationResult result = session.Generate(Command(LightAndLock) with { Acting = new ActingTools([picky, _lock]) }, sink, CancellationToken.None);
        Assert.Empty(picky.Ran);
        Assert.Single(_lock.Ran);
        Assert.Equal(["set_lock"], sink.Acting.Select(call => call.Name));
        Assert.Equal([false, true], result.ToolResults.Take(2).Select(answer => answer.Ok));
        Assert.Equal("error: area: expected one of attic", session.History.First(message => message.Role == ChatRole.Tool).Text);
    }

    [Fact]
    public void AFailingTool_IsToldToTheModel()
    {
        var broken = new FakeTool("set_light") { Act = (_, _) => Task.FromResult(ToolResult.Failed("no answer")) };
        GenerationResult result = _engine.OpenSession().Generate(Command("turn on the kitchen light") with { Acting = new ActingTools([broken]) }, new RecordingSink(), CancellationToken.None);
        Assert.Equal(new ToolResult("no answer", Ok: false), result.ToolResults[0]);
        Assert.DoesNotContain("is now on", result.Text, StringComparison.Ordinal);
        Assert.Equal(FinishReason.Stop, result.FinishReason);
    }

    [Fact]
    public void ATool_ThatTakesTooLong_IsGivenUp()
    {
        var slow = new FakeTool("set_light") { Act = async (_, _) => { await Task.Delay(Timeout.Infinite, TestContext.Current.CancellationToken); return new ToolResult("never", Ok: true); } };
        var acting = new ActingTools([slow]) { Timeout = TimeSpan.FromMilliseconds(50) };
        GenerationResult result = _engine.OpenSession().Generate(Command("turn on the kitchen light") with { Acting = acting }, new RecordingSink(), CancellationToken.None);
        Assert.Equal("no answer within 0.05 s; it may have been done all the same", result.ToolResults[0].Text);
    }

    /// <summary>A request of two calls that ends after the first act has begun: the conversation tells of both, in the form that the template has for it.</summary>
    [Theory]
    [InlineData("cancelled in the act", "error: cancelled meanwhile; it may have been done all the same", "error: not done: the request ended before")]
    [InlineData("cancelled after the act", "ok", "error: not done: the request ended before")]
    [InlineData("second act forbidden", "ok", "error: not done: the request ended before")]
    [InlineData("cancelled while it answers", "ok", "ok")]
    [InlineData("no room to answer", "ok", "long")]
    public void WhatWasDone_StaysInTheConversation_HoweverTheRequestEnds(string end, string light, string door)
    {
        using var cancelled = new CancellationTokenSource();
        var switched = new FakeTool("set_light")
        {
            Act = (_, _) =>
            {
                if (end.EndsWith(" act", StringComparison.Ordinal))
                {
                    cancelled.Cancel();
                }

                return end == "cancelled in the act" ? new TaskCompletionSource<ToolResult>().Task : Task.FromResult(new ToolResult("ok", Ok: true));
            },
        };
        string told = door == "long" ? string.Join(' ', Enumerable.Repeat("well", 800)) : door;
        var locked = new FakeTool("set_lock") { Act = (_, _) => Task.FromResult(new ToolResult(told, Ok: true)) };
        int acts = 0;
        var sink = new RecordingSink
        {
            BeforeAct = () => { if (++acts == 2 && end == "second act forbidden") { throw new RequestFailedException(Failures.NoSpace); } },
            OnProgress = () => { if (acts == 2 && end == "cancelled while it answers") { cancelled.Cancel(); } },
        };
        ChatSession session = _engine.OpenSession();
        Exception? thrown = Record.Exception(() => session.Generate(Command(LightAndLock) with { Acting = new ActingTools([switched, locked]) }, sink, cancelled.Token));

        Assert.True(end[0] switch { 'c' => thrown is OperationCanceledException, 's' => thrown is RequestFailedException, _ => thrown is ContextOverflowException }, $"{thrown}");
        Assert.Equal([ChatRole.User, ChatRole.Assistant, ChatRole.Tool, ChatRole.Tool], session.History.Select(message => message.Role));
        Assert.Equal(door.StartsWith("error", StringComparison.Ordinal) ? 0 : 1, locked.Ran.Count);
        string next = ChatTemplate.RenderText(new Conversation([.. session.History, new ChatMessage(ChatRole.User, "and now?")]), TemplateForm.Small);
        Assert.EndsWith(
            $"""
            <|tool_response>response:set_light{Value(light)}<tool_response|><|tool_response>response:set_lock{Value(told)}<tool_response|><turn|>
            <|turn>user
            and now?<turn|>
            <|turn>model

            """,
            next,
            StringComparison.Ordinal);

        static string Value(string text) => "{value:<|\"|>" + text + "<|\"|>}";
    }

    [Fact]
    public void AfterACancelledAnswer_TheModelKnowsWhatWasSwitched()
    {
        using var cancelled = new CancellationTokenSource();
        ChatSession session = _engine.OpenSession();
        var sink = new RecordingSink { OnProgress = () => { if (_light.Ran.Count > 0) { cancelled.Cancel(); } } };
        Assert.ThrowsAny<OperationCanceledException>(() => session.Generate(Command("turn on the kitchen light"), sink, cancelled.Token));
        session.Generate(Command("make it blue"), new RecordingSink(), CancellationToken.None);
        Assert.Equal("""{"area":"kitchen","color":"blue"}""", _light.Ran[^1].Arguments.GetRawText());
    }

    [Fact]
    public void ADeadlineThatPassed_AllowsNoAct()
    {
        PromptRequest request = Command("turn on the kitchen light") with { DeadlineTimestamp = Stopwatch.GetTimestamp() - 1 };
        RequestFailedException late = Assert.Throws<RequestFailedException>(() => _engine.OpenSession().Generate(request, new RecordingSink(), CancellationToken.None));
        Assert.Equal(FailureCode.Expired, late.Failure.Code);
        Assert.Empty(_light.Ran);
    }

    [Fact]
    public void ASinkThatForbidsTheAct_EndsTheRequestWithItsFailure()
    {
        var full = new GenerationFailure(FailureCode.Internal, "The disk is full.", "Free some space.");
        var sink = new RecordingSink { BeforeAct = () => throw new RequestFailedException(full) };
        RequestFailedException failed = Assert.Throws<RequestFailedException>(() => _engine.OpenSession().Generate(Command("turn on the kitchen light"), sink, CancellationToken.None));
        Assert.Equal(full, failed.Failure);
        Assert.Empty(_light.Ran);
    }

    [Fact]
    public void AModelThatGoesOnCalling_IsStopped()
    {
        PromptRequest request = Command("turn on the kitchen light") with { Acting = new ActingTools([_light]) { MaxRounds = 0 } };
        RequestFailedException endless = Assert.Throws<RequestFailedException>(() => _engine.OpenSession().Generate(request, new RecordingSink(), CancellationToken.None));
        Assert.Equal(FailureCode.ToolFailed, endless.Failure.Code);
        Assert.Empty(_light.Ran);
    }

    [Fact]
    public void MaxTokens_HoldForAllRounds()
    {
        int call = _engine.OpenSession().Generate(Command("turn on the kitchen light") with { Acting = null }, new RecordingSink(), CancellationToken.None).Usage.Output;
        foreach (int more in (int[])[0, 1, 3])
        {
            GenerationResult result = _engine.OpenSession().Generate(Command("turn on the kitchen light") with { MaxTokens = call + more }, new RecordingSink(), CancellationToken.None);
            Assert.Equal((call + more, FinishReason.Length), (result.Usage.Output, result.FinishReason));
            Assert.Single(result.ToolResults);
        }
    }

    private PromptRequest Command(string prompt) => new()
    {
        Id = "r",
        Prompt = prompt,
        System = Home,
        Tools = DemoTools.All,
        Acting = new ActingTools([_light, _lock]),
        Sampling = SamplingOptions.Greedy,
        ReceivedTimestamp = Stopwatch.GetTimestamp(),
    };
}
