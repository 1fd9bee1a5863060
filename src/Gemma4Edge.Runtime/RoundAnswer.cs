using System.Text;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>Collects what the model says in one round, on its way to the sink.</summary>
/// <param name="sink">Hears it.</param>
/// <param name="before">The text of the rounds before; a round that speaks again begins on a line of its own.</param>
internal sealed class RoundAnswer(ITokenSink sink, string before) : IAnswerSink
{
    private readonly StringBuilder _text = new();
    private readonly StringBuilder _thought = new();

    /// <summary>The text of this round.</summary>
    public string Text => _text.ToString();

    /// <summary>The text of the rounds up to this one, as the sink got it.</summary>
    public string FullText => _text.Length == 0 ? before : before + Break + _text;

    public List<ToolCall> ToolCalls { get; } = [];

    private string Break => before.Length == 0 || char.IsWhiteSpace(before[^1]) ? "" : "\n";

    public void OnText(string delta)
    {
        sink.OnText(_text.Length == 0 ? Break + delta : delta);
        _text.Append(delta);
    }

    public void OnThought(string delta)
    {
        _thought.Append(delta);
        sink.OnThought(delta);
    }

    public void OnToolCall(ToolCall toolCall)
    {
        ToolCall named = toolCall with { Id = $"call_{ToolCalls.Count}" }; // the template finds by it which call an answer is to: of two without one it takes the last
        ToolCalls.Add(named);
        sink.OnToolCall(named);
    }

    public void OnMalformedToolCall(string raw) => OnText(raw);

    /// <summary>The round as it goes before the tools' answers. What was said stands before the calls, as it was said: in one message the template would put it after the answers.</summary>
    public IEnumerable<ChatMessage> AsMessages()
    {
        string? thought = _thought.Length > 0 ? _thought.ToString().TrimEnd('\n') : null;
        if (_text.Length > 0)
        {
            yield return new ChatMessage(ChatRole.Assistant, Text) { Reasoning = thought };
            thought = null;
        }

        yield return new ChatMessage(ChatRole.Assistant) { Reasoning = thought, ToolCalls = ToolCalls };
    }
}
