import { useMemo, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';
import { GraphiQL } from 'graphiql';
import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import 'graphiql/graphiql.css';
import './style.css';
import './workers.js';
import { exampleTabs } from './examples.js';
import { activeTab, fetcher } from './fetcher.js';
import { StreamLog } from './StreamLog.jsx';
import { token } from './token.js';
import { TokenButton } from './TokenButton.jsx';

const showTab = ({ tabs, activeTabIndex }) => activeTab.set(tabs[activeTabIndex].id);

function Page({ tabs }) {
  const value = useSyncExternalStore(token.subscribe, token.get);
  // A function of its own for each token: GraphiQL reads the schema anew when its fetcher changes.
  const fetcherOfToken = useMemo(() => (...args) => fetcher(...args), [value]);
  return (
    <GraphiQL
      fetcher={fetcherOfToken}
      defaultTabs={tabs}
      onTabChange={showTab}
      defaultEditorToolsVisibility="variables"
      shouldPersistHeaders={false}
      showPersistHeadersSettings={false}
    >
      <GraphiQL.Logo>
        <span className="product">sipgraph</span>
        <TokenButton />
      </GraphiQL.Logo>
      <GraphiQL.Footer>
        <StreamLog />
      </GraphiQL.Footer>
    </GraphiQL>
  );
}

const tabs = await exampleTabs();
createRoot(document.getElementById('root')).render(<Page tabs={tabs} />);
