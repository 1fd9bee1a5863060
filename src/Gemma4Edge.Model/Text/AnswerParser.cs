using System.Text;

namespace Gemma4Edge.Model.Text;

/// <summary>Takes an answer apart while its tokens arrive: text, thought, tool calls.</summary>
/// <remarks>
/// It goes by token ids, not by text: the word <c>&lt;|tool_call&gt;</c> spelled out in an answer is text. It throws on no sequence of
/// tokens, and holds at most <see cref="MaxCallTokens"/> tokens of a call. One stream at a time; not for use from two threads.
/// </remarks>
public sealed class AnswerParser(GemmaTokenizer tokenizer)
{
    /// <summary>Most tokens of one tool call; the rest is dropped and the call is malformed.</summary>
    public const int MaxCallTokens = 16384;

    private const int MaxChannelNameChars = 64;

    private readonly SpecialTokens _special = tokenizer.Special;
    private readonly Detokenizer _detokenizer = new(tokenizer);
    private readonly StringBuilder _channelName = new();
    private readonly StringBuilder _call = new();
    private State _state;
    private int _callTokens;

    private enum State
    {
        Text,
        ChannelName,
        Thought,
        Call,
    }

    /// <summary>Forgets everything and begins another answer.</summary>
    /// <param name="insideThought">Whether the prompt ended within an open thought (after a tool's answer with thinking on).</param>
    public void Begin(bool insideThought = false)
    {
        _detokenizer.Reset();
        _channelName.Clear();
        _call.Clear();
        _state = insideThought ? State.Thought : State.Text;
    }

    /// <summary>Takes the next token. Stop tokens end an open call and print nothing.</summary>
    public void Push(int id, IAnswerSink sink)
    {
        ArgumentNullException.ThrowIfNull(sink);
        if (id == _special.ToolCallStart)
        {
            Enter(State.Call, sink);
        }
        else if (id == _special.ChannelStart && _state != State.Call)
        {
            Enter(State.ChannelName, sink);
        }
        else if (id == _special.ChannelEnd && _state is State.ChannelName or State.Thought)
        {
            Enter(State.Text, sink);
        }
        else if (_state == State.Call && (id == _special.ToolCallEnd || tokenizer.StopIds.Contains(id)))
        {
            Enter(State.Text, sink);
        }
        else if (_state == State.Call)
        {
            if (_callTokens++ < MaxCallTokens)
            {
                _call.Append(_detokenizer.Push(id).Replace(ToolCallReader.StringMark, '\uFFFD'));
                if (id == _special.StringMark)
                {
                    _call.Append(_detokenizer.Flush()).Append(ToolCallReader.StringMark);
                }
            }
        }
        else
        {
            Emit(_detokenizer.Push(id), sink);
        }
    }

    /// <summary>Ends the answer: hands over what still waits, an unfinished call included.</summary>
    public void Finish(IAnswerSink sink)
    {
        ArgumentNullException.ThrowIfNull(sink);
        Enter(State.Text, sink);
        Begin();
    }

    private void Enter(State next, IAnswerSink sink)
    {
        string rest = _detokenizer.Flush();
        if (_state != State.Call)
        {
            Emit(rest, sink);
        }
        else
        {
            EndCall(_call.Append(rest).ToString(), sink);
        }
        _channelName.Clear();
        _call.Clear();
        _callTokens = 0;
        _state = next;
    }

    private void Emit(string delta, IAnswerSink sink)
    {
        if (_state == State.ChannelName)
        {
            delta = AfterChannelName(delta);
        }
        if (delta.Length == 0)
        {
            return;
        }
        if (_state == State.Text)
        {
            sink.OnText(delta);
        }
        else
        {
            sink.OnThought(delta);
        }
    }

    /// <summary>The channel's name is its first line: nothing of it is thought.</summary>
    private string AfterChannelName(string delta)
    {
        _channelName.Append(delta);
        string soFar = _channelName.ToString();
        int newline = soFar.IndexOf('\n', StringComparison.Ordinal);
        if (newline < 0 && soFar.Length <= MaxChannelNameChars)
        {
            return "";
        }
        _state = State.Thought;
        return soFar[(newline + 1)..];
    }

    private void EndCall(string text, IAnswerSink sink)
    {
        if (_callTokens <= MaxCallTokens && ToolCallReader.TryRead(text, out ToolCall? call))
        {
            sink.OnToolCall(call);
        }
        else
        {
            sink.OnMalformedToolCall(text.Replace(ToolCallReader.StringMark.ToString(), "<|\"|>", StringComparison.Ordinal));
        }
    }
}
